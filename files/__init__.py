"""Files and folders on disk: what outsiders give is opened safely, what we write appears whole."""
