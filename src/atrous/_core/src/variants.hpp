#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lattice.hpp"

namespace atrous {

// How the coordinates of a vertex lie in 64 bits: the first `dimensions` of them, less the remainder and divided by
// dimensions + 1, side by side, and the remainder above. A step in the lattice is then one addition.
struct Packing {
    int dimensions;
    int shift[most_dimensions];
    int bits;                                   // all of them
    std::uint64_t unit[most_dimensions + 1];    // one of each coordinate, 0 for the last, which the others determine
    std::uint64_t remainder;                    // one of the remainder
    int remainder_shift;
    std::uint64_t origin;                       // of the vertex whose coordinates are all 0
    std::uint64_t step(int axis) const { return remainder - unit[axis]; }
    std::uint64_t wrap() const {  // from remainder dimensions + 1 to 0
        std::uint64_t sum = 0;
        for (int axis = 0; axis < dimensions; ++axis) sum += unit[axis];
        return sum - static_cast<std::uint64_t>(dimensions + 1) * remainder;
    }
};

// The smallest and the largest value of a feature.
struct Range {
    float low, high;
    bool finite;
};

// One kernel of the CRF, as a pass over the points needs it.
struct Term {
    Lattice lattice;
    float factor;        // weight times gain
    std::size_t offset;  // of its first row among all values
    const float* own;    // [points] or null
};

constexpr std::size_t most_terms = 16;

// Points are taken in tiles of so many rows and columns: their vertices then stay in the second-level cache.
constexpr std::size_t tile_rows = 32, tile_columns = 64;

// One pass over the points of a strip: slice the messages of all kernels, add the logits, softmax, splat for the next.
struct Pass {
    const Term* terms;
    std::size_t term_count;
    std::size_t labels, stride;  // a row of values has so many of them, and takes `stride` floats
    const float* unary;          // [all labels][points]
    const std::int32_t *kept, *rest;  // which of all labels have a row's values, and which share the last
    std::size_t rest_count;
    std::size_t points;
    float* logits;               // [points][stride], the largest of each point 0
    const float* source;         // blurred values, or null in the first pass
    const std::uint16_t* half;   // the same in half precision times `half_scale`, or null
    float half_scale;
    float* target;               // where to splat, or null in the last pass
    const float* label_weights;  // [stride] or null
    const float* matrix;         // [labels][stride], its columns, or null
    float* previous;             // [points][stride] where the marginals of the pass before are needed, or null
    float* marginals;            // [labels][points]
    const std::int32_t* active;  // the points that are not settled, or null for all
    std::uint8_t* settled;       // [points] or null
    float* base;                 // in the pass in which points settle: where these are splatted too; else null
    float settle;
    float* sample;               // [points / sampled + 1][stride], the marginals of some points before, or null
    bool careful;                // logits may be large: subtract the largest before taking the exponential
};

// What a strip's passes find, and memory for them.
struct Strip {
    float largest = 0;         // of all logits
    double change = 0;         // of the sampled marginals since the pass before
    float* scratch = nullptr;  // [tile_columns + 1][stride], at least 8 each

    ATROUS_INLINE void see(float logit) { largest = logit > largest ? logit : largest; }
};

// Every sixteenth point is asked how its marginals change.
constexpr std::size_t sampled = 16;

// The kernels that are compiled for several processors. Points begin..end are at most `tile_columns` of one row.
struct Kernels {
    Range (*range)(const float* values, std::size_t count);
    // The keys [dimensions + 1][lanes] and weights, likewise, of `count` points from `first` on, at most `lanes`.
    void (*simplices)(const float* features, std::size_t points, std::size_t first, int count, const Packing& packing,
                      std::uint64_t* keys, float* weights);
    // Writes points begin..end as rows of logits whose largest is 0; false where they cannot be used.
    bool (*prepare)(const Pass& pass, std::size_t stride, bool probabilities, std::size_t begin, std::size_t end,
                    float* logits);
    // A pass over points begin..end, or over the entries begin..end of `active`.
    void (*pass)(const Pass& pass, std::size_t begin, std::size_t end, Strip& strip);
    // The same for two labels and a Potts model: a value is the difference of the two marginals.
    void (*binary_pass)(const Pass& pass, std::size_t begin, std::size_t end, Strip& strip);
    // Blurs rows along chains, in place.
    void (*blur)(float* values, std::size_t stride, const std::int32_t* chains, std::size_t count);
    void (*blur_half)(std::uint16_t* values, std::size_t stride, const std::int32_t* chains, std::size_t count);
    // Moves values to half precision, times `scale`, and leaves zeros; null where the processor cannot.
    void (*to_half)(float* values, std::size_t count, float scale, std::uint16_t* half);
    // Plain filtering of at most `most_channels` channels.
    void (*splat)(const Lattice& lattice, const float* weights, const float* values, std::size_t channels,
                  std::size_t stride, std::size_t begin, std::size_t end, float* target);
    void (*slice)(const Lattice& lattice, const float* weights, const float* source, std::size_t channels,
                  std::size_t stride, std::size_t begin, std::size_t end, float* out);
    const char* name;
};

constexpr std::size_t most_channels = 64;

// The best kernels that this processor runs, or those that were chosen.
const Kernels& kernels();

// The best first.
std::vector<const Kernels*> all_kernels();

// Chooses kernels by name; false where this processor does not run them, or there are none of that name.
bool use_kernels(const char* name);

namespace avx512 {
const Kernels& kernels();
}
namespace avx2 {
const Kernels& kernels();
}
namespace plain {
const Kernels& kernels();
}

}  // namespace atrous
