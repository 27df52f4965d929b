#pragma once

// What filtering and mean field have in common: how the points, the vertices and the chains are shared among threads.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "lattice.hpp"
#include "variants.hpp"

namespace atrous {

// Where the part of a thread begins, of things that are shared evenly.
inline std::size_t share(std::size_t count, std::size_t part, std::size_t parts) { return count * part / parts; }

// Calls work(begin, end) for runs of points that lie in one row and one tile.
template <typename Work>
void each_run(const Lattice& lattice, std::size_t strip, const Work& work) {
    const std::size_t first = share(lattice.rows, strip, lattice.strips);
    const std::size_t last = share(lattice.rows, strip + 1, lattice.strips);
    for (std::size_t top = first; top < last; top += tile_rows)
        for (std::size_t left = 0; left < lattice.width; left += tile_columns)
            for (std::size_t row = top; row < std::min(last, top + tile_rows); ++row)
                work(row * lattice.width + left, row * lattice.width + std::min(lattice.width, left + tile_columns));
}

// The part of an axis's chains that one thread blurs: whole chains only.
struct Links {
    const std::int32_t* first;
    std::size_t count;
};

inline Links links_of(const Lattice& lattice, int axis, std::size_t part) {
    const std::int32_t* chains = lattice.chains + lattice.axes[axis];
    const auto count = static_cast<std::size_t>(lattice.axes[axis + 1] - lattice.axes[axis]);
    const auto edge = [&](std::size_t index) {
        std::size_t place = share(count, index, lattice.strips);
        while (place > 0 && place < count && chains[place - 1] >= 0) ++place;
        return place;
    };
    const std::size_t begin = edge(part), end = edge(part + 1);
    return {chains + begin, end - begin};
}

// Adds the ghosts' rows to their owners', one strip's after the other: the ghosts of one strip have different owners.
inline void gather_ghosts(const Lattice& lattice, float* values, std::size_t stride, std::size_t part,
                          std::size_t strip) {
    const auto begin = static_cast<std::size_t>(lattice.ghosts[strip]);
    const auto count = static_cast<std::size_t>(lattice.ghosts[strip + 1]) - begin;
    const std::size_t end = begin + share(count, part + 1, lattice.strips);
    for (std::size_t ghost = begin + share(count, part, lattice.strips); ghost < end; ++ghost) {
        float* owner = values + static_cast<std::size_t>(lattice.owners[ghost]) * stride;
        const float* own = values + (lattice.size + ghost) * stride;
        for (std::size_t label = 0; label < stride; ++label) owner[label] += own[label];
    }
}

template <typename Element>
void spread_ghosts(const Lattice& lattice, Element* values, std::size_t stride, std::size_t part) {
    const auto all = static_cast<std::size_t>(lattice.ghosts[lattice.strips]);
    for (std::size_t ghost = share(all, part, lattice.strips); ghost < share(all, part + 1, lattice.strips); ++ghost)
        std::memcpy(values + (lattice.size + ghost) * stride,
                    values + static_cast<std::size_t>(lattice.owners[ghost]) * stride, stride * sizeof(Element));
}

// So many values as whole vectors.
inline std::size_t padded(std::size_t values) { return (values + 7) / 8 * 8; }

}  // namespace atrous
