"""Everything that touches the disk: segment files, worker threads, LMDB."""
