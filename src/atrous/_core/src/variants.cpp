#include "variants.hpp"

namespace atrous {

const Kernels& kernels() {
#if defined(ATROUS_X86_VARIANTS)
    // Once per process: the check reads what the processor says of itself.
    static const Kernels& chosen = [] () -> const Kernels& {
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
            return avx512::kernels();
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2::kernels();
        return plain::kernels();
    }();
    return chosen;
#else
    return plain::kernels();
#endif
}

}  // namespace atrous
