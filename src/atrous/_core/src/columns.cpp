// Between one map per label, as Python has them, and one row per point, as mean field wants them. Compiled once for each
// kind of processor.

#include "passes.hpp"

namespace atrous {
namespace ATROUS_VARIANT {

constexpr float off_by = 0.01f;  // probabilities may sum to as much more or less than one
constexpr float least_probability = 1e-5f;

// Up to `tile_columns` points of one label at a time, and what is to be known of all their labels.
struct Columns {
    float value[tile_columns] = {}, sum[tile_columns] = {}, largest[tile_columns];
    Floats wrong = all<Floats>(0.0f), least = all<Floats>(0.0f);

    Columns() {
        for (float& each : largest) each = lowest;
    }
    void read(const float* from, std::size_t count) {
        std::memcpy(value, from, count * sizeof(float));
        for (std::size_t lane = 0; lane < tile_columns; lane += lanes) {
            const Floats column = load<Floats>(value + lane);
            wrong += column - column;  // NaN for NaN and infinity
            least = smaller(column, least);
            store(load<Floats>(sum + lane) + column, sum + lane);
        }
    }
    // Writes logits to their places in the rows, which are `stride` apart.
    void write(const float* columns, bool probabilities, std::size_t count, std::size_t stride, float* rows) {
        float logits[tile_columns];
        for (std::size_t lane = 0; lane < tile_columns; lane += lanes) {
            Floats logit = load<Floats>(columns + lane);
            if (probabilities)
                logit = logarithm(smaller(larger(logit, all<Floats>(least_probability)), all<Floats>(1.0f)));
            store(logit, logits + lane);
            store(larger(logit, load<Floats>(largest + lane)), largest + lane);
        }
        for (std::size_t place = 0; place < count; ++place) rows[place * stride] = logits[place];
    }
    bool usable(bool probabilities, std::size_t count) const {
        bool good = sum_of(wrong) == 0.0f;
        if (!probabilities) return good;
        for (int lane = 0; lane < lanes; ++lane) good = good && least[lane] >= 0.0f;
        for (std::size_t place = 0; place < count; ++place)
            good = good && sum[place] >= 1.0f - off_by && sum[place] <= 1.0f + off_by;
        return good;
    }
};

bool prepare(const Pass& pass, std::size_t stride, bool probabilities, std::size_t begin, std::size_t end,
             float* logits) {
    static_assert(tile_columns % lanes == 0, "whole vectors");
    const std::size_t count = end - begin, own = pass.labels - (pass.rest_count > 0 ? 1 : 0);
    Columns columns;
    for (std::size_t label = 0; label < own; ++label) {
        columns.read(pass.unary + static_cast<std::size_t>(pass.kept[label]) * pass.points + begin, count);
        columns.write(columns.value, probabilities, count, stride, logits + label);
    }
    if (pass.rest_count > 0) {
        float total[tile_columns] = {};
        for (std::size_t label = 0; label < pass.rest_count; ++label) {
            columns.read(pass.unary + static_cast<std::size_t>(pass.rest[label]) * pass.points + begin, count);
            for (std::size_t place = 0; place < tile_columns; ++place) total[place] += columns.value[place];
        }
        columns.write(total, probabilities, count, stride, logits + own);
    }
    for (std::size_t place = 0; place < count; ++place) {
        float* row = logits + place * stride;
        for (std::size_t label = 0; label < pass.labels; ++label) row[label] -= columns.largest[place];
        for (std::size_t label = pass.labels; label < stride; ++label) row[label] = lowest;  // only fills the row up
    }
    return columns.usable(probabilities, count);
}

// From rows of marginals to one map per label; the last row's is shared out as the probabilities were.
void write_out(const Pass& pass, const float* rows, std::size_t stride, std::size_t begin, std::size_t end) {
    const std::size_t count = end - begin, own = pass.labels - (pass.rest_count > 0 ? 1 : 0);
    for (std::size_t label = 0; label < own; ++label) {
        float* map = pass.marginals + static_cast<std::size_t>(pass.kept[label]) * pass.points + begin;
        for (std::size_t place = 0; place < count; ++place) map[place] = rows[place * stride + label];
    }
    if (pass.rest_count == 0) return;
    float share[tile_columns] = {};
    for (std::size_t label = 0; label < pass.rest_count; ++label) {
        const float* from = pass.unary + static_cast<std::size_t>(pass.rest[label]) * pass.points + begin;
        for (std::size_t place = 0; place < count; ++place) share[place] += from[place] + least_probability;
    }
    for (std::size_t place = 0; place < count; ++place) share[place] = rows[place * stride + own] / share[place];
    for (std::size_t label = 0; label < pass.rest_count; ++label) {
        const std::size_t offset = static_cast<std::size_t>(pass.rest[label]) * pass.points + begin;
        for (std::size_t place = 0; place < count; ++place)
            pass.marginals[offset + place] = (pass.unary[offset + place] + least_probability) * share[place];
    }
}

}  // namespace ATROUS_VARIANT
}  // namespace atrous
