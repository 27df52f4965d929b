#include "variants.hpp"

#include <atomic>
#include <cstring>

namespace atrous {
namespace {

bool runs_here(const Kernels& candidate) {
#if defined(ATROUS_X86_VARIANTS)
    __builtin_cpu_init();
    const bool fused = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");  // which all have f16c
    if (std::strcmp(candidate.name, "avx512") == 0)
        return fused && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    return std::strcmp(candidate.name, "avx2") != 0 || fused;
#else
    return std::strcmp(candidate.name, "plain") == 0;
#endif
}

const Kernels* best() {
    for (const Kernels* candidate : all_kernels())
        if (runs_here(*candidate)) return candidate;
    return &plain::kernels();
}

std::atomic<const Kernels*> in_use{nullptr};

}  // namespace

std::vector<const Kernels*> all_kernels() {
#if defined(ATROUS_X86_VARIANTS)
    return {&avx512::kernels(), &avx2::kernels(), &plain::kernels()};
#else
    return {&plain::kernels()};
#endif
}

const Kernels& kernels() {
    const Kernels* kernels = in_use.load(std::memory_order_acquire);
    if (!kernels) in_use.store(kernels = best(), std::memory_order_release);
    return *kernels;
}

bool use_kernels(const char* name) {
    for (const Kernels* candidate : all_kernels())
        if (std::strcmp(candidate->name, name) == 0 && runs_here(*candidate)) {
            in_use.store(candidate, std::memory_order_release);
            return true;
        }
    return false;
}

}  // namespace atrous
