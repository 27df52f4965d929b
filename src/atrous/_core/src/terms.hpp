#pragma once

// The kernels of a CRF as the innermost loops see them. See lanes.hpp for where this may be included.

#include "rows.hpp"

namespace atrous {
namespace ATROUS_VARIANT {

// One kernel as the innermost loops see it: what does not change within a pass, where a compiler may keep it in
// registers. `known_corners` and `known_stride` are 0 where they are not known beforehand.
template <int known_corners, int known_stride>
struct Local {
    const std::int32_t* vertices;
    const float *slice, *splat, *source;
    const std::uint16_t* half;
    float *target, *base;
    float factor;
    int any_corners;
    std::size_t any_stride;

    Local() = default;
    Local(const Pass& pass, const Term& term)
        : vertices(term.lattice.vertices), slice(term.lattice.slice), splat(term.lattice.splat),
          source(pass.source ? pass.source + term.offset * pass.stride : nullptr),
          half(pass.half ? pass.half + term.offset * pass.stride : nullptr),
          target(pass.target ? pass.target + term.offset * pass.stride : nullptr),
          base(pass.base ? pass.base + term.offset * pass.stride : nullptr),
          factor(pass.half ? term.factor / pass.half_scale : term.factor), any_corners(term.lattice.dimensions + 1),
          any_stride(pass.stride) {}

    ATROUS_INLINE int corners() const { return known_corners > 0 ? known_corners : any_corners; }
    ATROUS_INLINE std::size_t stride() const { return known_stride > 0 ? known_stride : any_stride; }
    ATROUS_INLINE std::size_t row(std::size_t point, int corner) const {
        return static_cast<std::size_t>(vertices[point * corners() + corner]) * stride();
    }
    // Slices: adds the message of this kernel.
    template <int groups>
    ATROUS_INLINE void receive(Row<groups>& logits, std::size_t point, std::size_t offset) const {
        Row<groups> message;
        message.clear();
#if defined(__F16C__)
        if (half)
            for (int corner = 0; corner < corners(); ++corner)
                message.add_half(slice[point * corners() + corner], half + row(point, corner) + offset);
        else
#endif
            for (int corner = 0; corner < corners(); ++corner)
                message.add(slice[point * corners() + corner], source + row(point, corner) + offset);
        logits.add(factor, message);
    }
    // Splats: adds the marginals to the vertices.
    template <int groups>
    ATROUS_INLINE void send(const Row<groups>& marginals, std::size_t point, std::size_t offset, float* to) const {
        for (int corner = 0; corner < corners(); ++corner)
            marginals.add_to(splat[point * corners() + corner], to + row(point, corner) + offset);
    }
    ATROUS_INLINE float receive_single(std::size_t point) const {
        float message = 0.0f;
        for (int corner = 0; corner < corners(); ++corner)
            message += slice[point * corners() + corner] * source[vertices[point * corners() + corner]];
        return factor * message;
    }
    ATROUS_INLINE void send_single(float value, std::size_t point) const {
        for (int corner = 0; corner < corners(); ++corner)
            target[vertices[point * corners() + corner]] += splat[point * corners() + corner] * value;
    }
    ATROUS_INLINE void ask_for(std::size_t point) const {
        for (int corner = 0; corner < corners(); ++corner) {
            const std::size_t place = row(point, corner);
            for (std::size_t part = 0; part < stride(); part += 16) {
                if (source) ATROUS_READ_SOON(source + place + part);
                if (target) ATROUS_WRITE_SOON(target + place + part);
                if (half && part % 32 == 0) ATROUS_READ_SOON(half + place + part);
            }
        }
    }
};

// The two kernels of a colour image: five features and two. Every loop over corners is unrolled.
template <int stride>
struct ImageTerms {
    Local<6, stride> appearance;
    Local<3, stride> smoothness;

    explicit ImageTerms(const Pass& pass) : appearance(pass, pass.terms[0]), smoothness(pass, pass.terms[1]) {}
    template <typename Work>
    ATROUS_INLINE void each(const Work& work) const {
        work(appearance);
        work(smoothness);
    }
    // Of the largest lattice: others stay in the cache.
    ATROUS_INLINE void ask_for(std::size_t point) const { appearance.ask_for(point); }
};

template <int stride>
struct AnyTerms {
    Local<0, stride> terms[most_terms];
    std::size_t count;

    explicit AnyTerms(const Pass& pass) : count(pass.term_count) {
        for (std::size_t index = 0; index < count; ++index) terms[index] = Local<0, stride>(pass, pass.terms[index]);
    }
    template <typename Work>
    ATROUS_INLINE void each(const Work& work) const {
        for (std::size_t index = 0; index < count; ++index) work(terms[index]);
    }
    ATROUS_INLINE void ask_for(std::size_t point) const {
        if (count > 0) terms[0].ask_for(point);
    }
};

}  // namespace ATROUS_VARIANT
}  // namespace atrous
