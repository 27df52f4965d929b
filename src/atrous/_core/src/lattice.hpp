#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "room.hpp"

// Functions that code compiled for several processors shares must leave no copy of their own behind: the linker would
// keep one of them, perhaps one that another processor cannot run.
#if defined(__GNUC__)
#define ATROUS_INLINE __attribute__((always_inline)) inline
#else
#define ATROUS_INLINE inline
#endif

namespace atrous {

// Beyond this the packed coordinates of a vertex do not fit into 64 bits, whatever the features are.
constexpr int most_dimensions = 16;

// Sixteen points at a time go through the lattice.
constexpr int lanes = 16;

// A lattice as src/atrous/_core/lattice.py describes it; the memory belongs to others.
struct Lattice {
    const std::int32_t* vertices;
    const float* splat;
    const float* slice;
    const std::int32_t* chains;
    const std::int64_t* axes;
    const std::int32_t* owners;
    const std::int64_t* ghosts;
    std::size_t size, strips, rows, width;
    int dimensions;
    float gain;  // a filtered value is multiplied by it

    ATROUS_INLINE int corners() const { return dimensions + 1; }
    ATROUS_INLINE std::size_t points() const { return rows * width; }
    ATROUS_INLINE std::size_t all_rows() const { return size + static_cast<std::size_t>(ghosts[strips]); }
};

// The same with memory of its own, as it is built.
struct LatticeArrays {
    Room<std::int32_t> vertices;
    Room<float> weights;
    std::vector<std::int32_t> chains, owners;
    std::vector<std::int64_t> axes, ghosts;
    std::size_t size = 0;
};

enum class Built { yes, not_finite, too_wide };

// Finds the simplex of every point: features[dimensions][rows][width].
Built build_lattice(const float* features, int dimensions, std::size_t rows, std::size_t width, std::size_t strips,
                    LatticeArrays& lattice);

// Splat, blur and slice: values[channels][points] to out of the same shape.
void filter(const Lattice& lattice, const float* values, std::size_t channels, bool transposed, float* out);

// The labels that have a row of their own, and those that share the last one.
struct Labels {
    std::vector<std::int32_t> kept, rest;
    std::size_t rows() const { return kept.size() + (rest.empty() ? 0 : 1); }
};

// What mean field needs to know, and what it leaves behind.
struct MeanField {
    const float* unary;  // [labels][points]
    Labels labels;
    std::size_t points;
    std::vector<Lattice> lattices;
    std::vector<float> weights;
    std::vector<const float*> own;  // what a point's value adds to its own, per lattice; empty: that stays in
    const float* label_weights;     // [rows of labels] or null
    const float* matrix;            // [rows of labels][rows of labels] or null
    int iterations;
    bool from_probabilities, half;
    float settle, tolerance;
    float* marginals;  // [labels][points]
};

// Returns false where `unary` cannot be used.
bool mean_field(const MeanField& task);

// Writes the largest value of every label: values[labels][points].
void peaks(const float* values, std::size_t labels, std::size_t points, std::size_t threads, float* largest);

}  // namespace atrous
