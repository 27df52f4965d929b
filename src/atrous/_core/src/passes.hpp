#pragma once

// What the files compiled for several processors share, in the namespace of each.

#include "rows.hpp"

#define ATROUS_QUOTED(word) #word
#define ATROUS_NAME(word) ATROUS_QUOTED(word)

namespace atrous {
namespace ATROUS_VARIANT {

template <int number>
struct Whole {
    static constexpr int value = number;
};

// Calls work(Whole<groups>, offset) for parts of a row of `stride` values: 64 of them, and one part for the rest.
template <typename Work>
inline void in_chunks(std::size_t stride, const Work& work) {
    std::size_t offset = 0;
    for (; offset + 64 <= stride; offset += 64) work(Whole<8>(), offset);
    switch ((stride - offset) / 8) {
        case 1: return work(Whole<1>(), offset);
        case 2: return work(Whole<2>(), offset);
        case 3: return work(Whole<3>(), offset);
        case 4: return work(Whole<4>(), offset);
        case 5: return work(Whole<5>(), offset);
        case 6: return work(Whole<6>(), offset);
        case 7: return work(Whole<7>(), offset);
    }
}

Range range(const float* values, std::size_t count);
void simplices(const float* features, std::size_t points, std::size_t first, int count, const Packing& packing,
               std::uint64_t* keys, float* weights);
bool prepare(const Pass& pass, std::size_t stride, bool probabilities, std::size_t begin, std::size_t end,
             float* logits);
void write_out(const Pass& pass, const float* rows, std::size_t stride, std::size_t begin, std::size_t end);
void blur(float* values, std::size_t stride, const std::int32_t* chains, std::size_t count);
void blur_half(std::uint16_t* values, std::size_t stride, const std::int32_t* chains, std::size_t count);
void to_half(float* values, std::size_t count, float scale, std::uint16_t* half);
void splat(const Lattice& lattice, const float* weights, const float* values, std::size_t channels, std::size_t stride,
           std::size_t begin, std::size_t end, float* target);
void slice(const Lattice& lattice, const float* weights, const float* source, std::size_t channels, std::size_t stride,
           std::size_t begin, std::size_t end, float* out);

}  // namespace ATROUS_VARIANT
}  // namespace atrous
