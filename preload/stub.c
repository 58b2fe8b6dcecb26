/*
 * The arm64 side of preload/src/tunnel.rs: a library that is preloaded into an
 * arm64 program under qemu-aarch64, and passes what concerns KVM to the native
 * library in qemu itself. Built by conformance/build-stub, without libc.
 */

typedef unsigned long u64;
typedef long i64;

enum { NR_GETXATTR = 8, NR_IOCTL = 29, NR_OPENAT = 56, NR_WRITE = 64, NR_EXIT_GROUP = 94,
       NR_USERFAULTFD = 282 };
enum { HELLO, OPEN, IOCTL, USERFAULTFD };
enum { AT_FDCWD = -100, ENOENT = 2 };

/* The types of ioctl requests (bits 15:8) that qemu does not pass on. */
enum { KVMIO = 0xae, UFFDIO = 0xaa };

/* The same structure is in tunnel.rs. */
struct request {
    char name[16];
    u64 end;
    u64 address;
    u64 operation;
    u64 arguments[4];
    i64 result;
};

int *__errno_location(void);

static i64 kernel(i64 number, i64 a, i64 b, i64 c, i64 d, i64 e, i64 f)
{
    register i64 x8 __asm__("x8") = number;
    register i64 x0 __asm__("x0") = a;
    register i64 x1 __asm__("x1") = b;
    register i64 x2 __asm__("x2") = c;
    register i64 x3 __asm__("x3") = d;
    register i64 x4 __asm__("x4") = e;
    register i64 x5 __asm__("x5") = f;

    __asm__ volatile("svc #0" : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}

/* What libc returns for what the kernel returned. */
static i64 libc_result(i64 result)
{
    if (result < 0 && result >= -4095) {
        *__errno_location() = -result;
        return -1;
    }
    return result;
}

static i64 tunnel(u64 operation, u64 a, u64 b, u64 c)
{
    struct request request = {
        .name = {'u', 'n', 'd', 'e', 'r', 's', 't', 'u', 'd', 'y', '-', 'c', 'a', 'l', 'l', '1'},
        .end = 0,
        .address = (u64)&request,
        .operation = operation,
        .arguments = {a, b, c, 0},
    };
    i64 result = kernel(NR_GETXATTR, (i64) "/understudy/tunnel", (i64)&request, 0, 0, 0, 0);

    return result < 0 ? result : request.result;
}

static u64 length(const char *text)
{
    u64 count = 0;

    while (text[count])
        count++;
    return count;
}

/*
 * Programs that this one starts are not ours: their dynamic linker, of another
 * architecture perhaps, has no use for this library.
 */
static void hide(char **environment)
{
    static const char variable[] = "LD_PRELOAD=";
    char **kept = environment;

    for (; *environment; environment++) {
        u64 i = 0;

        while (variable[i] && (*environment)[i] == variable[i])
            i++;
        if (variable[i])
            *kept++ = *environment;
    }
    *kept = 0;
}

/* The dynamic linker passes what main() gets. */
__attribute__((constructor)) static void start(int argc, char **argv, char **environment)
{
    static const char missing[] =
        "understudy: the native library is not loaded into qemu; use `understudy exec`\n";
    static const char moved[] =
        "understudy: qemu has moved the program's addresses (guest_base is not 0)\n";
    enum { EPROTO = 71, EFAULT = 14 };
    i64 result = tunnel(HELLO, 0, 0, 0);
    const char *problem = result == -EPROTO || result == -EFAULT ? moved : missing;

    (void)argc;
    (void)argv;
    if (result == 0) {
        hide(environment);
        return;
    }
    kernel(NR_WRITE, 2, (i64)problem, length(problem), 0, 0, 0);
    kernel(NR_EXIT_GROUP, 2, 0, 0, 0, 0, 0);
}

/* Only the last word of the path is looked at here; the native side decides. */
static int may_be_kvm(const char *path)
{
    u64 end;

    if (!path)
        return 0;
    end = length(path);
    return end >= 3 && path[end - 3] == 'k' && path[end - 2] == 'v' && path[end - 1] == 'm';
}

static int open_at(int directory, const char *path, int flags, unsigned mode)
{
    if (may_be_kvm(path)) {
        /* O_DIRECTORY is another bit on arm64; O_CREAT, O_EXCL and O_CLOEXEC are the same. */
        enum { O_DIRECTORY_ARM64 = 040000, O_DIRECTORY_X86 = 0200000 };
        int native = flags & ~(O_DIRECTORY_ARM64 | O_DIRECTORY_X86);
        i64 result;

        if (flags & O_DIRECTORY_ARM64)
            native |= O_DIRECTORY_X86;
        result = tunnel(OPEN, directory, (u64)path, native);
        if (result != -ENOENT)
            return libc_result(result);
    }
    return libc_result(kernel(NR_OPENAT, directory, (i64)path, flags, mode, 0, 0));
}

int open(const char *path, int flags, unsigned mode)
{
    return open_at(AT_FDCWD, path, flags, mode);
}

int openat(int directory, const char *path, int flags, unsigned mode)
{
    return open_at(directory, path, flags, mode);
}

int __open_2(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, flags, 0);
}

int __openat_2(int directory, const char *path, int flags)
{
    return open_at(directory, path, flags, 0);
}

int open64(const char *, int, unsigned) __attribute__((alias("open")));
int openat64(int, const char *, int, unsigned) __attribute__((alias("openat")));
int __open64_2(const char *, int) __attribute__((alias("__open_2")));
int __openat64_2(int, const char *, int) __attribute__((alias("__openat_2")));

static i64 raw_ioctl(int fd, unsigned request, u64 argument)
{
    unsigned type = request >> 8 & 0xff;

    if (type == KVMIO || type == UFFDIO)
        return tunnel(IOCTL, fd, request, argument);
    return kernel(NR_IOCTL, fd, request, argument, 0, 0, 0);
}

int ioctl(int fd, u64 request, u64 argument)
{
    return libc_result(raw_ioctl(fd, request, argument));
}

i64 syscall(i64 number, i64 a, i64 b, i64 c, i64 d, i64 e, i64 f)
{
    switch (number) {
    case NR_OPENAT:
        return open_at(a, (const char *)b, c, d);
    case NR_IOCTL:
        return libc_result(raw_ioctl(a, b, c));
    case NR_USERFAULTFD:
        return libc_result(tunnel(USERFAULTFD, a, 0, 0));
    default:
        return libc_result(kernel(number, a, b, c, d, e, f));
    }
}
