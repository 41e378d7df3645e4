cpdef bytes offset_id(bytes host, long long offset)
