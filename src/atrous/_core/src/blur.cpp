// Blurring along the axes of the lattice, and plain filtering. Compiled once for each kind of processor.

#include "passes.hpp"

namespace atrous {
namespace ATROUS_VARIANT {

constexpr std::size_t soon = 8;  // so many links ahead a row is asked for

inline std::size_t vertex_of(std::int32_t link) { return static_cast<std::size_t>(link ^ (link >> 31)); }

// What the next vertex of the chain counts: a half, and nothing where there is none. One load and one store for every
// vertex; what the previous row adds to it stays in registers.
inline float weight_of_next(std::int32_t link) { return link < 0 ? 0.0f : 0.5f; }

struct Singles {
    template <int groups>
    static void load(Row<groups>& row, const float* from) {
        row.load(from);
    }
    template <int groups>
    static void store(const Row<groups>& row, float* to) {
        row.store(to);
    }
};

#if defined(__F16C__)
struct Halves {
    template <int groups>
    static void load(Row<groups>& row, const std::uint16_t* from) {
        row.load_half(from);
    }
    template <int groups>
    static void store(const Row<groups>& row, std::uint16_t* to) {
        row.store_half(to);
    }
};
#endif

template <int groups, typename Format, typename Element>
void blur_rows(Element* values, std::size_t stride, const std::int32_t* chains, std::size_t count) {
    constexpr int line = 64 / sizeof(Element);
    Row<groups> from_previous, current, next;
    from_previous.clear();
    std::int32_t link = chains[0];
    Format::load(current, values + vertex_of(link) * stride);
    for (std::size_t place = 0; place + 1 < count; ++place) {
        const Element* later = values + vertex_of(chains[least(place + soon, count - 1)]) * stride;
        for (int part = 0; part < groups * 8; part += line) ATROUS_WRITE_SOON(later + part);
        const std::int32_t following = chains[place + 1];
        Format::load(next, values + vertex_of(following) * stride);
        const float weight = weight_of_next(link);
        from_previous.add(1.0f, current);
        from_previous.add(weight, next);
        Format::store(from_previous, values + vertex_of(link) * stride);
        from_previous = current;
        from_previous.scale(weight);
        current = next;
        link = following;
    }
    from_previous.add(1.0f, current);
    Format::store(from_previous, values + vertex_of(link) * stride);
}

void blur_singles(float* values, const std::int32_t* chains, std::size_t count) {
    std::int32_t link = chains[0];
    float from_previous = 0.0f, current = values[vertex_of(link)];
    for (std::size_t place = 0; place + 1 < count; ++place) {
        const std::int32_t following = chains[place + 1];
        const float next = values[vertex_of(following)], weight = weight_of_next(link);
        values[vertex_of(link)] = current + from_previous + weight * next;
        from_previous = weight * current;
        current = next;
        link = following;
    }
    values[vertex_of(link)] = current + from_previous;
}

void blur(float* values, std::size_t stride, const std::int32_t* chains, std::size_t count) {
    if (count == 0) return;
    if (stride == 1) return blur_singles(values, chains, count);
    in_chunks(stride, [&](auto groups, std::size_t offset) {
        blur_rows<decltype(groups)::value, Singles>(values + offset, stride, chains, count);
    });
}

#if defined(__F16C__)
void blur_half(std::uint16_t* values, std::size_t stride, const std::int32_t* chains, std::size_t count) {
    if (count == 0) return;
    in_chunks(stride, [&](auto groups, std::size_t offset) {
        blur_rows<decltype(groups)::value, Halves>(values + offset, stride, chains, count);
    });
}

void to_half(float* values, std::size_t count, float scale, std::uint16_t* half) {
    Row<1> row, zero;
    zero.clear();
    for (std::size_t place = 0; place < count; place += 8) {
        row.load(values + place);
        row.scale(scale);
        row.store_half(half + place);
        zero.store(values + place);
    }
}
#endif

void splat(const Lattice& lattice, const float* weights, const float* values, std::size_t channels, std::size_t stride,
           std::size_t begin, std::size_t end, float* target) {
    const int corners = lattice.corners();
    if (stride == 1) {
        for (std::size_t point = begin; point < end; ++point)
            for (int corner = 0; corner < corners; ++corner)
                target[lattice.vertices[point * corners + corner]] += weights[point * corners + corner] * values[point];
        return;
    }
    float rows[tile_columns * most_channels];
    std::memset(rows, 0, (end - begin) * stride * sizeof(float));
    for (std::size_t channel = 0; channel < channels; ++channel)
        for (std::size_t point = begin; point < end; ++point)
            rows[(point - begin) * stride + channel] = values[channel * lattice.points() + point];
    in_chunks(stride, [&](auto groups, std::size_t offset) {
        Row<decltype(groups)::value> row;
        for (std::size_t point = begin; point < end; ++point) {
            row.load(rows + (point - begin) * stride + offset);
            for (int corner = 0; corner < corners; ++corner)
                row.add_to(weights[point * corners + corner],
                           target + lattice.vertices[point * corners + corner] * stride + offset);
        }
    });
}

void slice(const Lattice& lattice, const float* weights, const float* source, std::size_t channels, std::size_t stride,
           std::size_t begin, std::size_t end, float* out) {
    const int corners = lattice.corners();
    const float gain = lattice.gain;
    if (stride == 1) {
        for (std::size_t point = begin; point < end; ++point) {
            float sum = 0.0f;
            for (int corner = 0; corner < corners; ++corner)
                sum += weights[point * corners + corner] * source[lattice.vertices[point * corners + corner]];
            out[point] = sum * gain;
        }
        return;
    }
    float rows[tile_columns * most_channels];
    in_chunks(stride, [&](auto groups, std::size_t offset) {
        Row<decltype(groups)::value> row;
        for (std::size_t point = begin; point < end; ++point) {
            row.clear();
            for (int corner = 0; corner < corners; ++corner)
                row.add(weights[point * corners + corner],
                        source + lattice.vertices[point * corners + corner] * stride + offset);
            row.scale(gain);
            row.store(rows + (point - begin) * stride + offset);
        }
    });
    for (std::size_t channel = 0; channel < channels; ++channel)
        for (std::size_t point = begin; point < end; ++point)
            out[channel * lattice.points() + point] = rows[(point - begin) * stride + channel];
}

}  // namespace ATROUS_VARIANT
}  // namespace atrous
