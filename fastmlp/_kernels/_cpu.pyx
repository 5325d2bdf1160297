"""Which instruction-set levels this processor, and its operating system, can run.

Compiled once, for any processor. CPUID is read directly: the names that `__builtin_cpu_supports` takes differ between
compilers, and a level counts only where the system saves its registers as well.
"""

cdef extern from *:
    """
    #if defined(__x86_64__)
    #include <cpuid.h>
    static int read_cpuid(unsigned leaf, unsigned *ebx, unsigned *ecx) {
        unsigned eax, edx;
        return __get_cpuid_count(leaf, 0, &eax, ebx, ecx, &edx);
    }
    /* XCR0, the register states that the system saves; it can be read only where CPUID says osxsave. */
    static unsigned read_xcr0(void) {
        unsigned eax, edx;
        __asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
        return eax;
    }
    #else
    static int read_cpuid(unsigned leaf, unsigned *ebx, unsigned *ecx) { return 0; }
    static unsigned read_xcr0(void) { return 0; }
    #endif
    """
    bint read_cpuid(unsigned leaf, unsigned *ebx, unsigned *ecx)
    unsigned read_xcr0()


# What the x86-64 psABI asks for at each level: {(CPUID leaf, register): bits}, and the states to be saved.
_LEVELS = {
    "x86-64-v2": ({
        (0x1, "ecx"): (0, 9, 13, 19, 20, 23),       # sse3 ssse3 cmpxchg16b sse4.1 sse4.2 popcnt
        (0x80000001, "ecx"): (0,),                  # lahf
    }, 0),
    "x86-64-v3": ({
        (0x1, "ecx"): (12, 22, 27, 28, 29),         # fma movbe osxsave avx f16c
        (0x7, "ebx"): (3, 5, 8),                    # bmi1 avx2 bmi2
        (0x80000001, "ecx"): (5,),                  # lzcnt
    }, 0x06),                                       # xmm, ymm
    "x86-64-v4": ({
        (0x7, "ebx"): (16, 17, 28, 30, 31),         # avx512f avx512dq avx512cd avx512bw avx512vl
    }, 0xE6),                                       # xmm, ymm, masks, both parts of zmm
}


cdef unsigned _register(unsigned leaf, str name):
    """One register of a CPUID leaf; 0, no feature at all, where the processor has no such leaf."""
    cdef unsigned ebx = 0, ecx = 0
    if not read_cpuid(leaf, &ebx, &ecx):
        return 0
    return ebx if name == "ebx" else ecx


def _runs(features, states):
    """Has this processor all `features`, and does the system save all register `states`?"""
    for (leaf, name), bits in features.items():
        found = _register(leaf, name)
        if not all(found >> bit & 1 for bit in bits):
            return False
    return not states or read_xcr0() & states == states


def _read_levels():
    """`plain`, which runs everywhere, and the levels of x86-64 up to the first that does not run."""
    found = ["plain"]
    for level, (features, states) in _LEVELS.items():
        if not _runs(features, states):
            break
        found.append(level)
    return tuple(found)


_SUPPORTED = _read_levels()  # once: in a virtual machine CPUID is slow


def supported() -> tuple[str, ...]:
    """The levels that can run here, lowest first; each includes those before it."""
    return _SUPPORTED
