// Mean field's passes over the points. Compiled once for each kind of processor.

#include "passes.hpp"
#include "terms.hpp"

namespace atrous {
namespace ATROUS_VARIANT {

constexpr std::size_t ahead = 6;  // so many points ahead the rows of the vertices are asked for

template <int groups>
inline double renewed(const Row<groups>& row, float* sample) {
    float now[groups * 8];
    row.store(now);
    float change = 0.0f;
    for (int label = 0; label < groups * 8; ++label) {
        change += now[label] > sample[label] ? now[label] - sample[label] : sample[label] - now[label];
        sample[label] = now[label];
    }
    return change;
}

// Rows of up to 64 labels and a Potts model, perhaps with a weight for each label: all in registers.
template <int groups, template <int> class AllTerms>
void pass_in_registers(const Pass& pass, std::size_t begin, std::size_t end, Strip& strip) {
    constexpr std::size_t stride = groups * 8;
    const AllTerms<stride> terms(pass);
    const bool receives = pass.source || pass.half, weighted = pass.label_weights, careful = pass.careful;
    const std::int32_t* const active = pass.active;
    const std::uint8_t* const settled = pass.settled;
    float *const logits = pass.logits, *const sample = pass.sample, *const scratch = strip.scratch;
    float *const target = pass.target, *const base = pass.base;
    Row<groups> row, message, weights;
    Most most;
    if (weighted) weights.load(pass.label_weights);
    for (std::size_t place = begin; place < end; ++place) {
        const std::size_t later = least(place + ahead, end - 1);
        terms.ask_for(active ? static_cast<std::size_t>(active[later]) : later);
        const std::size_t point = active ? static_cast<std::size_t>(active[place]) : place;
        row.load(logits + point * stride);
        if (settled && settled[point]) {  // what stands there are its marginals
            row.store(scratch + (place - begin) * stride);
            continue;
        }
        if (receives && weighted) {
            message.clear();
            terms.each([&](const auto& term) { term.receive(message, point, 0); });
            message.multiply(weights);
            row.add(1.0f, message);
        } else if (receives) {
            terms.each([&](const auto& term) { term.receive(row, point, 0); });
        }
        most.see(row);
        if (careful) {
            message.set(row.largest());
            row.add(-1.0f, message);
        }
        row.scale(1.0f / row.exponentials());
        if (sample && point % sampled == 0) strip.change += renewed(row, sample + point / sampled * stride);
        if (!target) {
            row.store(scratch + (place - begin) * stride);
            continue;
        }
        terms.each([&](const auto& term) { term.send(row, point, 0, term.target); });
        if (base && row.largest() > 1.0f - pass.settle) {
            pass.settled[point] = 1;
            row.store(logits + point * stride);
            terms.each([&](const auto& term) { term.send(row, point, 0, term.base); });
        }
    }
    strip.see(most.value());
    if (!target) write_out(pass, scratch, stride, begin, end);
}

// logits -= matrix times message
inline void mix(const Pass& pass, const float* message, float* logits) {
    for (std::size_t label = 0; label < pass.labels; ++label) {
        const float* column = pass.matrix + label * pass.stride;
        const float value = message[label];
        for (std::size_t other = 0; other < pass.labels; ++other) logits[other] -= column[other] * value;
    }
}

inline void take_off_own(const Pass& pass, std::size_t point, float* message) {
    const float* before = pass.previous + point * pass.stride;
    for (std::size_t index = 0; index < pass.term_count; ++index) {
        const Term& term = pass.terms[index];
        const float own = term.own[point] * term.factor / term.lattice.gain;
        for (std::size_t label = 0; label < pass.stride; ++label) message[label] -= own * before[label];
    }
}

// The message as a row of its own, and what the compatibility makes of it.
template <typename Terms>
void receive_apart(const Pass& pass, const Terms& terms, std::size_t point, float* message, float* logits) {
    in_chunks(pass.stride, [&](auto groups, std::size_t offset) {
        Row<decltype(groups)::value> row;
        row.clear();
        terms.each([&](const auto& term) { term.receive(row, point, offset); });
        row.store(message + offset);
    });
    if (pass.previous) take_off_own(pass, point, message);
    if (pass.matrix) return mix(pass, message, logits);
    for (std::size_t label = 0; label < pass.labels; ++label)
        logits[label] += (pass.label_weights ? pass.label_weights[label] : 1.0f) * message[label];
}

inline float largest_in(const float* row, std::size_t stride) {
    Most most;
    in_chunks(stride, [&](auto groups, std::size_t offset) {
        Row<decltype(groups)::value> part;
        part.load(row + offset);
        most.see(part);
    });
    return most.value();
}

// Takes the exponential of every logit, less `shift`, in place, and returns their sum.
inline float exponentials_in(float* row, std::size_t stride, float shift, Most& most) {
    float sum = 0.0f;
    in_chunks(stride, [&](auto groups, std::size_t offset) {
        Row<decltype(groups)::value> part, shifts;
        part.load(row + offset);
        most.see(part);
        shifts.set(shift);
        part.add(-1.0f, shifts);
        sum += part.exponentials();
        part.store(row + offset);
    });
    return sum;
}

// Any number of labels and any compatibility: a row lies in memory, and parts of it go through the registers.
template <typename Terms>
void pass_in_memory(const Pass& pass, std::size_t begin, std::size_t end, Strip& strip) {
    const Terms terms(pass);
    const std::size_t stride = pass.stride;
    const bool receives = pass.source || pass.half, apart = pass.previous || pass.matrix || pass.label_weights;
    float* message = strip.scratch + tile_columns * stride;
    Most most;
    for (std::size_t place = begin; place < end; ++place) {
        const std::size_t later = least(place + ahead, end - 1);
        terms.ask_for(pass.active ? static_cast<std::size_t>(pass.active[later]) : later);
        const std::size_t point = pass.active ? static_cast<std::size_t>(pass.active[place]) : place;
        float* row = strip.scratch + (pass.target ? 0 : (place - begin) * stride);
        const float* logits = pass.logits + point * stride;
        if (apart || !receives || (pass.settled && pass.settled[point])) {
            std::memcpy(row, logits, stride * sizeof(float));
            if (pass.settled && pass.settled[point]) continue;
            if (receives) receive_apart(pass, terms, point, message, row);
        } else {
            in_chunks(stride, [&](auto groups, std::size_t offset) {
                Row<decltype(groups)::value> part;
                part.load(logits + offset);
                terms.each([&](const auto& term) { term.receive(part, point, offset); });
                part.store(row + offset);
            });
        }
        const float shift = pass.careful ? largest_in(row, stride) : 0.0f;
        const float factor = 1.0f / exponentials_in(row, stride, shift, most);
        const bool settles = pass.base && largest_in(row, stride) * factor > 1.0f - pass.settle;
        in_chunks(stride, [&](auto groups, std::size_t offset) {
            Row<decltype(groups)::value> part;
            part.load(row + offset);
            part.scale(factor);
            if (pass.sample && point % sampled == 0)
                strip.change += renewed(part, pass.sample + point / sampled * stride + offset);
            if (pass.previous) part.store(pass.previous + point * stride + offset);
            if (!pass.target) return part.store(row + offset);
            terms.each([&](const auto& term) { term.send(part, point, offset, term.target); });
            if (!settles) return;
            terms.each([&](const auto& term) { term.send(part, point, offset, term.base); });
            part.store(pass.logits + point * stride + offset);
        });
        if (settles) pass.settled[point] = 1;
    }
    strip.see(most.value());
    if (!pass.target) write_out(pass, strip.scratch, stride, begin, end);
}

// The kernels of a colour image, of the larger lattice first.
inline bool of_image(const Pass& pass) {
    return pass.term_count == 2 && pass.terms[0].lattice.dimensions == 5 && pass.terms[1].lattice.dimensions == 2;
}

template <template <int> class Terms>
void pass_with(const Pass& pass, std::size_t begin, std::size_t end, Strip& strip) {
    if (pass.stride > most_channels || pass.matrix || pass.previous)
        return pass_in_memory<Terms<0>>(pass, begin, end, strip);
    in_chunks(pass.stride, [&](auto groups, std::size_t) {
        pass_in_registers<decltype(groups)::value, Terms>(pass, begin, end, strip);
    });
}

void pass(const Pass& pass, std::size_t begin, std::size_t end, Strip& strip) {
    if (begin == end) return;
    if (of_image(pass)) return pass_with<ImageTerms>(pass, begin, end, strip);
    pass_with<AnyTerms>(pass, begin, end, strip);
}

template <typename Terms>
void pass_of_pairs(const Pass& pass, std::size_t begin, std::size_t end, Strip& strip) {
    const Terms terms(pass);
    const float* const logits = pass.logits;
    const bool receives = pass.source;
    float *const sample = pass.sample, *const first = pass.marginals, *const other = first + pass.points;
    const bool last = !pass.target;
    float sums[lanes] = {}, second[lanes];
    for (std::size_t start = begin; start < end; start += lanes) {
        const std::size_t count = least(lanes, end - start);
        for (std::size_t lane = 0; lane < count; ++lane) {
            float sum = logits[start + lane];
            if (receives) terms.each([&](const auto& term) { sum += term.receive_single(start + lane); });
            sums[lane] = sum;
        }
        const Floats logit = smaller(larger(load<Floats>(sums), all<Floats>(-50.0f)), all<Floats>(50.0f));
        store(all<Floats>(1.0f) / (exponential(all<Floats>(0.0f) - logit) + 1.0f), second);
        for (std::size_t lane = 0; lane < count; ++lane) {
            const std::size_t point = start + lane;
            if (sample && point % sampled == 0) {
                const float change = second[lane] - sample[point / sampled];
                strip.change += 2.0f * (change < 0.0f ? -change : change);
                sample[point / sampled] = second[lane];
            }
            if (last) {
                first[point] = 1.0f - second[lane];
                other[point] = second[lane];
            } else {
                const float difference = 2.0f * second[lane] - 1.0f;
                terms.each([&](const auto& term) { term.send_single(difference, point); });
            }
        }
    }
}

// Two labels in a Potts model: the difference of their marginals says all, so one value is filtered and not two.
// `logits` holds the difference of the logits, one for each point.
void binary_pass(const Pass& pass, std::size_t begin, std::size_t end, Strip& strip) {
    if (of_image(pass)) return pass_of_pairs<ImageTerms<1>>(pass, begin, end, strip);
    pass_of_pairs<AnyTerms<1>>(pass, begin, end, strip);
}

const Kernels& kernels() {
    static const Kernels all_of_them = {
        range, simplices, prepare, pass, binary_pass, blur,
#if defined(__F16C__)
        blur_half, to_half,
#else
        nullptr, nullptr,
#endif
        splat, slice, ATROUS_NAME(ATROUS_VARIANT)};
    return all_of_them;
}

}  // namespace ATROUS_VARIANT
}  // namespace atrous
