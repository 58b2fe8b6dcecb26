// The peer of the differential tests: runs single instructions on whatever AArch64 it is on
// (qemu-aarch64, or hardware) and reports the state that each leaves.
//
// Each instruction stands in a slot of its own, with BRK all around. Everything happens in one
// signal handler: it is entered because an instruction got to a BRK, was undefined or faulted; it
// takes the state from the signal frame, puts the next case's into it, and returns into that
// case's slot. So an instruction may change any register whatever, the stack pointer included.
//
// On standard input, little-endian, until end of file:
//   u64 words, u64 cases, u32 word[words] (padded to 8 bytes), struct state case[cases]
// On standard output for each such batch: struct state outcome[cases]

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long u64;

struct state {
    u64 x[31], sp;
    u64 pc;       // in: the slot's number; out: the address reached
    u64 pstate;   // NZCV in bits 31 to 28
    u64 fpcr, fpsr;
    u64 signal;   // in: 1 if data may be touched; out: the signal, if not a BRK's
    u64 address;  // out: the faulting address
    u64 changed;  // out: where data first changed, as an offset, or all ones
    u64 window[8]; // out: 64 bytes from there
    u64 pad;
    u64 v[64];
};

#define CODE 0x20000000ul
#define CODE_SIZE 0x200000ul
#define SLOTS (CODE + 0x80000)
#define SLOT 32
#define MAX_WORDS 4096
#define MAX_CASES 4096
#define DATA 0x30000000ul
#define DATA_SIZE 0x30000ul

static struct state cases[MAX_CASES];
static u64 count, at;
static u64 touched;
static u64 stack[0x10000 / 8];

static long call(long number, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0" : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}

static void quit(int code) {
    for (;;)
        call(94, code, 0, 0, 0, 0, 0);
}

static int take(void *to, u64 bytes) {
    u8 *p = to;
    while (bytes) {
        long n = call(63, 0, (long)p, (long)bytes, 0, 0, 0);
        if (n <= 0)
            return 0;
        p += n;
        bytes -= (u64)n;
    }
    return 1;
}

static void give(const void *from, u64 bytes) {
    const u8 *p = from;
    while (bytes) {
        long n = call(64, 1, (long)p, (long)bytes, 0, 0, 0);
        if (n <= 0)
            quit(3);
        p += n;
        bytes -= (u64)n;
    }
}

static u64 pristine(u64 index) {
    u64 z = (index + 1) * 0x9e3779b97f4a7c15ul;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ul;
    return z ^ (z >> 27);
}

static void next_batch(void) {
    u64 head[2];
    if (!take(head, sizeof head))
        quit(0);
    if (head[0] > MAX_WORDS || head[1] > MAX_CASES || head[1] == 0)
        quit(2);
    for (u64 i = 0; i < (head[0] + 1) / 2; i++) {
        u64 two;
        if (!take(&two, sizeof two))
            quit(2);
        *(volatile u32 *)(SLOTS + 2 * i * SLOT) = (u32)two;
        *(volatile u32 *)(SLOTS + (2 * i + 1) * SLOT) = (u32)(two >> 32);
    }
    if (!take(cases, head[1] * sizeof cases[0]))
        quit(2);
    __builtin___clear_cache((char *)SLOTS, (char *)SLOTS + MAX_WORDS * SLOT);
    count = head[1];
    at = 0;
}

static void compare_data(struct state *s) {
    volatile u64 *data = (volatile u64 *)DATA;
    s->changed = ~0ul;
    if (!touched)
        return;
    for (u64 i = 0; i < DATA_SIZE / 8; i++) {
        if (data[i] == pristine(i))
            continue;
        s->changed = 8 * i;
        // An unaligned store of 64 bytes changes nine words.
        for (u64 j = 0; j < 16 && i + j < DATA_SIZE / 8; j++) {
            if (j < 8)
                s->window[j] = data[i + j];
            data[i + j] = pristine(i + j);
        }
        break;
    }
}

// Offsets into the kernel's struct ucontext (arch/arm64): sigcontext at 176.
#define FRAME(offset) (*(u64 *)(frame + (offset)))
#define REGS 184
#define SP 432
#define PC 440
#define PSTATE 448
#define RECORDS 464
#define FPSIMD_MAGIC 0x46508001u

static void handler(int signal, u8 *info, u8 *frame) {
    static int running;
    u8 *record = frame + RECORDS;
    while (*(u32 *)record != FPSIMD_MAGIC) {
        if (*(u32 *)(record + 4) == 0)
            quit(4);
        record += *(u32 *)(record + 4);
    }
    if (running) {
        struct state *s = &cases[at];
        for (int i = 0; i < 31; i++)
            s->x[i] = FRAME(REGS + 8 * i);
        s->sp = FRAME(SP);
        s->pc = FRAME(PC);
        s->pstate = FRAME(PSTATE) & 0xf0000000;
        s->fpsr = *(u32 *)(record + 8);
        s->fpcr = *(u32 *)(record + 12);
        for (int i = 0; i < 64; i++)
            s->v[i] = *(u64 *)(record + 16 + 8 * i);
        s->signal = signal == 5 ? 0 : (u64)signal;
        s->address = signal == 11 || signal == 7 ? *(u64 *)(info + 16) : 0;
        compare_data(s);
        at++;
    }
    if (!running || at == count) {
        if (running)
            give(cases, count * sizeof cases[0]);
        next_batch();
        running = 1;
    }
    struct state *s = &cases[at];
    for (int i = 0; i < 31; i++)
        FRAME(REGS + 8 * i) = s->x[i];
    FRAME(SP) = s->sp;
    FRAME(PC) = SLOTS + SLOT * s->pc;
    FRAME(PSTATE) = (FRAME(PSTATE) & ~0xf0000000ul) | s->pstate;
    *(u32 *)(record + 8) = (u32)s->fpsr;
    *(u32 *)(record + 12) = (u32)s->fpcr;
    for (int i = 0; i < 64; i++)
        *(u64 *)(record + 16 + 8 * i) = s->v[i];
    touched = s->signal;
}

static void map(u64 address, u64 size, int protection) {
    // MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
    if (call(222, (long)address, (long)size, protection, 0x32, -1, 0) != (long)address)
        quit(1);
}

void _start(void) {
    map(CODE, CODE_SIZE, 7);
    for (u64 a = CODE; a < CODE + CODE_SIZE; a += 4)
        *(volatile u32 *)a = 0xd4200020; // BRK #1
    map(DATA, DATA_SIZE, 3);
    for (u64 i = 0; i < DATA_SIZE / 8; i++)
        ((volatile u64 *)DATA)[i] = pristine(i);
    struct { void *base; u64 flags, size; } alternate = {stack, 0, sizeof stack};
    call(132, (long)&alternate, 0, 0, 0, 0, 0);
    // SA_SIGINFO | SA_ONSTACK
    struct { void *handler; u64 flags; void *restorer; u64 mask; } action = {handler, 0x08000004, 0, 0};
    static const int signals[] = {4, 5, 7, 8, 11};
    for (int i = 0; i < 5; i++)
        call(134, signals[i], (long)&action, 0, 8, 0, 0);
    __asm__ volatile("brk #1");
    quit(5);
}
