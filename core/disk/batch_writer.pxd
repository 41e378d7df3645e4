from core.disk.page_image cimport PageImage

# Linux's asynchronous writes (io_submit(2)): the system calls as they are, since libc has no functions for them.
# RWF_NOWAIT: the kernel refuses (EAGAIN) what it could not carry out without blocking the caller.
cdef extern from *:
    """
    #include <errno.h>
    #if defined(__linux__)
    #include <linux/aio_abi.h>
    #include <stdint.h>
    #include <string.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    static inline int aio_open(unsigned long *context) {
        return (int) syscall(SYS_io_setup, 1, context);
    }
    static inline void aio_close(unsigned long context) {
        syscall(SYS_io_destroy, context);
    }
    static inline int aio_write_synced(unsigned long context, int fd, void *data, size_t size, long long at, int event) {
        struct iocb control, *controls = &control;
        memset(&control, 0, sizeof control);
        control.aio_lio_opcode = IOCB_CMD_PWRITE;
        control.aio_fildes = fd;
        control.aio_buf = (uintptr_t) data;
        control.aio_nbytes = size;
        control.aio_offset = at;
        control.aio_rw_flags = 0x02 | 0x08; /* RWF_DSYNC | RWF_NOWAIT */
        control.aio_flags = IOCB_FLAG_RESFD;
        control.aio_resfd = event;
        return (int) syscall(SYS_io_submit, context, 1L, &controls);
    }
    static inline long long aio_result(unsigned long context) {
        struct io_event event;
        return syscall(SYS_io_getevents, context, 1L, 1L, &event, NULL) == 1 ? event.res : -EIO;
    }
    #else
    static inline int aio_open(unsigned long *context) { return -1; }
    static inline void aio_close(unsigned long context) {}
    static inline int aio_write_synced(unsigned long context, int fd, void *data, size_t size, long long at, int event) {
        return -1;
    }
    static inline long long aio_result(unsigned long context) { return -EIO; }
    #define fdatasync fsync
    #endif
    """
    int aio_open(unsigned long *context) noexcept nogil
    void aio_close(unsigned long context) noexcept nogil
    int aio_write_synced(unsigned long context, int fd, void *data, size_t size, long long at, int event) noexcept nogil
    long long aio_result(unsigned long context) noexcept nogil


cdef int signal(int event) noexcept nogil
cdef int hear(int event) noexcept nogil


cdef class BatchWriter(PageImage):
    cdef object _thread
    cdef int _wake, _told, _error
    cdef bint _stopping, _submitted
    cdef unsigned long _context
    cdef int _refusals
    cpdef put(self)
    cpdef opened(self)
    cdef bint _submit(self) except? -1
    cdef int _serve(self) noexcept nogil
    cdef int _put(self) noexcept nogil
