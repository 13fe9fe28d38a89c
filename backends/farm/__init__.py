"""Executors of isolated work: worker processes of this machine, or the hosts of a cluster.

`backends.farm.cluster` is imported separately: only it needs dask.distributed.
"""

from .farm import Farm, JobLost
from .local import local_farm

__all__ = ["Farm", "JobLost", "local_farm"]
