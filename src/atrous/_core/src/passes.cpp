// Mean field's passes over the points. Compiled once for each kind of processor.

#include "passes.hpp"

namespace atrous {
namespace ATROUS_VARIANT {

constexpr std::size_t ahead = 6;     // so many points ahead the rows of the vertices are asked for
constexpr float absent = -1e30f;     // the logit of a label that only fills up a row
constexpr float off_by = 0.01f;      // probabilities may sum to as much more or less than one
constexpr float least_probability = 1e-5f;

bool prepare(const float* unary, std::size_t labels, std::size_t points, std::size_t stride, bool probabilities,
             std::size_t begin, std::size_t end, float* logits) {
    static_assert(tile_columns % lanes == 0, "whole vectors");
    const std::size_t count = end - begin;
    float column[tile_columns] = {}, ready[tile_columns], sums[tile_columns] = {}, largest[tile_columns];
    for (std::size_t lane = 0; lane < tile_columns; ++lane) largest[lane] = absent;
    Floats wrong = all<Floats>(0.0f), lowest = all<Floats>(0.0f);
    for (std::size_t label = 0; label < labels; ++label) {
        std::memcpy(column, unary + label * points + begin, count * sizeof(float));
        for (std::size_t lane = 0; lane < tile_columns; lane += lanes) {
            Floats value = load<Floats>(column + lane);
            wrong += value - value;  // NaN for NaN and infinity
            if (probabilities) {
                lowest = smaller(value, lowest);
                store(load<Floats>(sums + lane) + value, sums + lane);
                value = logarithm(smaller(larger(value, all<Floats>(least_probability)), all<Floats>(1.0f)));
            }
            store(value, ready + lane);
            store(larger(value, load<Floats>(largest + lane)), largest + lane);
        }
        for (std::size_t place = 0; place < count; ++place) logits[place * stride + label] = ready[place];
    }
    for (std::size_t place = 0; place < count; ++place) {
        float* row = logits + place * stride;
        for (std::size_t label = 0; label < labels; ++label) row[label] -= largest[place];
        for (std::size_t label = labels; label < stride; ++label) row[label] = absent;
    }
    bool usable = sum_of(wrong) == 0.0f;
    if (!probabilities) return usable;
    for (int lane = 0; lane < lanes; ++lane) usable = usable && lowest[lane] >= 0.0f;
    for (std::size_t place = 0; place < count; ++place)
        usable = usable && sums[place] >= 1.0f - off_by && sums[place] <= 1.0f + off_by;
    return usable;
}

template <int groups, int corners>
inline void receive_from(Row<groups>& row, const Term& term, const Pass& pass, std::size_t stride, std::size_t offset,
                         std::size_t point) {
    const int count = corners > 0 ? corners : term.lattice.dimensions + 1;
    const std::int32_t* vertices = term.lattice.vertices + point * count;
    const float* weights = term.lattice.slice + point * count;
#if defined(__F16C__)
    if (pass.half) {
        for (int corner = 0; corner < count; ++corner)
            row.add_half(weights[corner] * term.factor / pass.half_scale,
                         pass.half + (term.offset + vertices[corner]) * stride + offset);
        return;
    }
#endif
    for (int corner = 0; corner < count; ++corner)
        row.add(weights[corner] * term.factor, pass.source + (term.offset + vertices[corner]) * stride + offset);
}

// Adds the messages of all kernels: slices.
template <int groups>
inline void receive(Row<groups>& row, const Pass& pass, std::size_t stride, std::size_t offset, std::size_t point) {
    for (std::size_t index = 0; index < pass.term_count; ++index) {
        const Term& term = pass.terms[index];
        switch (term.lattice.dimensions) {  // those of images, with their loops unrolled
            case 5: receive_from<groups, 6>(row, term, pass, stride, offset, point); break;
            case 2: receive_from<groups, 3>(row, term, pass, stride, offset, point); break;
            default: receive_from<groups, 0>(row, term, pass, stride, offset, point);
        }
    }
}

template <int groups, int corners>
inline void send_to(const Row<groups>& row, const Term& term, float* target, std::size_t stride, std::size_t offset,
                    std::size_t point) {
    const int count = corners > 0 ? corners : term.lattice.dimensions + 1;
    const std::int32_t* vertices = term.lattice.vertices + point * count;
    const float* weights = term.lattice.splat + point * count;
    for (int corner = 0; corner < count; ++corner)
        row.add_to(weights[corner], target + (term.offset + vertices[corner]) * stride + offset);
}

// Adds a row to the vertices of all kernels: splats.
template <int groups>
inline void send(const Row<groups>& row, const Pass& pass, float* target, std::size_t stride, std::size_t offset,
                 std::size_t point) {
    for (std::size_t index = 0; index < pass.term_count; ++index) {
        const Term& term = pass.terms[index];
        switch (term.lattice.dimensions) {
            case 5: send_to<groups, 6>(row, term, target, stride, offset, point); break;
            case 2: send_to<groups, 3>(row, term, target, stride, offset, point); break;
            default: send_to<groups, 0>(row, term, target, stride, offset, point);
        }
    }
}

inline void ask_for(const Pass& pass, std::size_t stride, std::size_t point) {
    const Term& term = pass.terms[0];  // the largest lattice: others stay in the cache
    const int corners = term.lattice.dimensions + 1;
    for (int corner = 0; corner < corners; ++corner) {
        const std::size_t row = (term.offset + term.lattice.vertices[point * corners + corner]) * stride;
        if (pass.source)
            for (std::size_t part = 0; part < stride; part += 16) ATROUS_READ_SOON(pass.source + row + part);
        if (pass.half)
            for (std::size_t part = 0; part < stride; part += 32) ATROUS_READ_SOON(pass.half + row + part);
        if (pass.target)
            for (std::size_t part = 0; part < stride; part += 16) ATROUS_WRITE_SOON(pass.target + row + part);
    }
}

// From rows of marginals to one map per label.
inline void write_out(const Pass& pass, const float* rows, std::size_t stride, std::size_t begin, std::size_t end) {
    for (std::size_t label = 0; label < pass.labels; ++label) {
        float* map = pass.marginals + label * pass.points + begin;
        for (std::size_t place = 0; place < end - begin; ++place) map[place] = rows[place * stride + label];
    }
}

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
template <int groups>
void pass_in_registers(const Pass& pass, std::size_t begin, std::size_t end, Strip& strip) {
    constexpr std::size_t stride = groups * 8;
    Row<groups> row, message, weights, largest;
    largest.set(absent);
    if (pass.label_weights) weights.load(pass.label_weights);
    const bool receives = pass.source || pass.half;
    for (std::size_t place = begin; place < end; ++place) {
        const std::size_t later = least(place + ahead, end - 1);
        ask_for(pass, stride, pass.active ? static_cast<std::size_t>(pass.active[later]) : later);
        const std::size_t point = pass.active ? static_cast<std::size_t>(pass.active[place]) : place;
        row.load(pass.logits + point * stride);
        if (pass.settled && pass.settled[point]) {  // what stands there are its marginals
            row.store(strip.scratch + (place - begin) * stride);
            continue;
        }
        if (receives && pass.label_weights) {
            message.clear();
            receive(message, pass, stride, 0, point);
            message.multiply(weights);
            row.add(1.0f, message);
        } else if (receives) {
            receive(row, pass, stride, 0, point);
        }
        largest.keep_larger(row);
        if (pass.careful) {
            message.set(row.largest());
            row.add(-1.0f, message);
        }
        row.scale(1.0f / row.exponentials());
        if (strip.sample && point % sampled == 0)
            strip.change += renewed(row, strip.sample + point / sampled * stride);
        if (!pass.target) {
            row.store(strip.scratch + (place - begin) * stride);
            continue;
        }
        send(row, pass, pass.target, stride, 0, point);
        if (pass.base && row.largest() > 1.0f - pass.settle) {
            pass.settled[point] = 1;
            row.store(pass.logits + point * stride);
            send(row, pass, pass.base, stride, 0, point);
        }
    }
    const float top = largest.largest();
    strip.largest = top > strip.largest ? top : strip.largest;
    if (!pass.target) write_out(pass, strip.scratch, stride, begin, end);
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
        const float own = term.own[point] * term.factor / term.lattice.gain();
        for (std::size_t label = 0; label < pass.stride; ++label) message[label] -= own * before[label];
    }
}

inline void receive_all(const Pass& pass, std::size_t point, float* message, float* logits) {
    in_chunks(pass.stride, [&](auto groups, std::size_t offset) {
        Row<decltype(groups)::value> row;
        row.clear();
        receive(row, pass, pass.stride, offset, point);
        row.store(message + offset);
    });
    if (pass.previous) take_off_own(pass, point, message);
    if (pass.matrix) return mix(pass, message, logits);
    for (std::size_t label = 0; label < pass.labels; ++label)
        logits[label] += (pass.label_weights ? pass.label_weights[label] : 1.0f) * message[label];
}

// The logits of one point as marginals; returns the largest logit.
inline float soften(const Pass& pass, float* row) {
    float largest = row[0], sum = 0.0f;
    for (std::size_t label = 1; label < pass.labels; ++label) largest = row[label] > largest ? row[label] : largest;
    in_chunks(pass.stride, [&](auto groups, std::size_t offset) {
        Row<decltype(groups)::value> part, shift;
        part.load(row + offset);
        shift.set(largest);
        part.add(-1.0f, shift);
        sum += part.exponentials();
        part.store(row + offset);
    });
    for (std::size_t label = 0; label < pass.stride; ++label) row[label] *= 1.0f / sum;
    return largest;
}

// Any number of labels and any compatibility: a row lies in memory, and parts of it go through the registers.
void pass_in_memory(const Pass& pass, std::size_t begin, std::size_t end, Strip& strip) {
    const std::size_t stride = pass.stride;
    float* message = strip.scratch + tile_columns * stride;
    for (std::size_t place = begin; place < end; ++place) {
        const std::size_t point = pass.active ? static_cast<std::size_t>(pass.active[place]) : place;
        float* row = strip.scratch + (pass.target ? 0 : (place - begin) * stride);
        std::memcpy(row, pass.logits + point * stride, stride * sizeof(float));
        if (pass.settled && pass.settled[point]) continue;
        if (pass.source || pass.half) receive_all(pass, point, message, row);
        const float largest = soften(pass, row);
        strip.largest = largest > strip.largest ? largest : strip.largest;
        if (pass.previous) std::memcpy(pass.previous + point * stride, row, stride * sizeof(float));
        const bool settles = pass.base && [&] {
            float most = 0.0f;
            for (std::size_t label = 0; label < pass.labels; ++label) most = row[label] > most ? row[label] : most;
            return most > 1.0f - pass.settle;
        }();
        in_chunks(stride, [&](auto groups, std::size_t offset) {
            Row<decltype(groups)::value> part;
            part.load(row + offset);
            if (strip.sample && point % sampled == 0)
                strip.change += renewed(part, strip.sample + point / sampled * stride + offset);
            if (pass.target) send(part, pass, pass.target, stride, offset, point);
            if (settles) send(part, pass, pass.base, stride, offset, point);
        });
        if (settles) {
            pass.settled[point] = 1;
            std::memcpy(pass.logits + point * stride, row, stride * sizeof(float));
        }
    }
    if (!pass.target) write_out(pass, strip.scratch, stride, begin, end);
}

void pass(const Pass& pass, std::size_t begin, std::size_t end, Strip& strip) {
    if (begin == end) return;
    if (pass.stride > most_channels || pass.matrix || pass.previous) return pass_in_memory(pass, begin, end, strip);
    in_chunks(pass.stride, [&](auto groups, std::size_t) {
        pass_in_registers<decltype(groups)::value>(pass, begin, end, strip);
    });
}

// Two labels in a Potts model: the difference of their marginals says all, so one value is filtered and not two.
// `logits` holds the difference of the logits, one for each point.
void binary_pass(const Pass& pass, std::size_t begin, std::size_t end, Strip& strip) {
    float sums[lanes], second[lanes];
    for (std::size_t start = begin; start < end; start += lanes) {
        const std::size_t count = least(lanes, end - start);
        for (std::size_t lane = 0; lane < count; ++lane) {
            const std::size_t point = start + lane;
            float sum = pass.logits[point];
            for (std::size_t index = 0; pass.source && index < pass.term_count; ++index) {
                const Term& term = pass.terms[index];
                const int corners = term.lattice.dimensions + 1;
                const std::int32_t* vertices = term.lattice.vertices + point * corners;
                const float* weights = term.lattice.slice + point * corners;
                float message = 0.0f;
                for (int corner = 0; corner < corners; ++corner)
                    message += weights[corner] * pass.source[term.offset + vertices[corner]];
                sum += term.factor * message;
            }
            sums[lane] = sum;
        }
        for (std::size_t lane = count; lane < lanes; ++lane) sums[lane] = 0.0f;
        const Floats logit = smaller(larger(load<Floats>(sums), all<Floats>(-50.0f)), all<Floats>(50.0f));
        const Floats share = all<Floats>(1.0f) / (exponential(all<Floats>(0.0f) - logit) + 1.0f);
        store(share, second);
        for (std::size_t lane = 0; lane < count; ++lane) {
            const std::size_t point = start + lane;
            if (strip.sample && point % sampled == 0) {
                const float change = second[lane] - strip.sample[point / sampled];
                strip.change += 2.0f * (change < 0.0f ? -change : change);
                strip.sample[point / sampled] = second[lane];
            }
            if (!pass.target) {
                pass.marginals[point] = 1.0f - second[lane];
                pass.marginals[pass.points + point] = second[lane];
                continue;
            }
            const float difference = 2.0f * second[lane] - 1.0f;
            for (std::size_t index = 0; index < pass.term_count; ++index) {
                const Term& term = pass.terms[index];
                const int corners = term.lattice.dimensions + 1;
                const std::int32_t* vertices = term.lattice.vertices + point * corners;
                const float* weights = term.lattice.splat + point * corners;
                for (int corner = 0; corner < corners; ++corner)
                    pass.target[term.offset + vertices[corner]] += weights[corner] * difference;
            }
        }
    }
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
