"""Work farmed out: to isolated processes of this machine, or to the hosts of a cluster.

`backends.farm.cluster` has the latter, apart: only it needs dask.distributed.
"""

from .farm import Farm, JobLost
from .local import local_farm

__all__ = ["Farm", "JobLost", "local_farm"]
