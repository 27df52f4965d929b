#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <vector>

#include "kernels.hpp"
#include "strips.hpp"

namespace atrous {

constexpr float nowhere = std::numeric_limits<float>::infinity();
constexpr std::int32_t nobody = 0;
constexpr std::size_t lanes = 32;

// The two nearest distinct objects of many pixels: squared distances and object numbers, side by side.
struct Nearest {
    float* first;
    std::int32_t* first_object;
    float* second;
    std::int32_t* second_object;

    Nearest at(std::size_t place) const {
        return {first + place, first_object + place, second + place, second_object + place};
    }
};

// Takes one candidate in; written as selections, so that many pixels go through it at once.
inline void keep(float& first, std::int32_t& first_object, float& second, std::int32_t& second_object, float distance,
                 std::int32_t object) {
    const bool same = object == first_object;
    const bool nearest = distance < first;
    const bool moves = nearest && !same;
    const bool next = !nearest && !same && distance < second;
    second = moves ? first : next ? distance : second;
    second_object = moves ? first_object : next ? object : second_object;
    first = nearest ? distance : first;
    first_object = nearest ? object : first_object;
}

// The two objects last met while going down or up the columns, and the rows where they were met.
struct Met {
    std::vector<std::int32_t> object, earlier;
    std::vector<float> row, earlier_row;

    explicit Met(std::size_t width)
        : object(width, nobody), earlier(width, nobody), row(width, -nowhere), earlier_row(width, -nowhere) {}

    void see(const std::int32_t* numbers, float here, std::size_t width) {
        for (std::size_t column = 0; column < width; ++column) {
            const std::int32_t number = numbers[column];
            const bool other = number != nobody && number != object[column];
            earlier[column] = other ? object[column] : earlier[column];
            earlier_row[column] = other ? row[column] : earlier_row[column];
            object[column] = other ? number : object[column];
            row[column] = number != nobody ? here : row[column];
        }
    }
};

ATROUS_CLONES void keep_met(const Met& met, float here, std::size_t width, Nearest out) {
    for (std::size_t column = 0; column < width; ++column) {
        const float near = here - met.row[column], far = here - met.earlier_row[column];
        keep(out.first[column], out.first_object[column], out.second[column], out.second_object[column], near * near,
             met.object[column]);
        keep(out.first[column], out.first_object[column], out.second[column], out.second_object[column], far * far,
             met.earlier[column]);
    }
}

// Finds the two nearest objects of every pixel within its own column.
void search_columns(const std::int32_t* objects, std::size_t height, std::size_t width, std::size_t begin,
                    std::size_t end, Nearest all) {
    const std::size_t count = end - begin;
    for (const bool down : {true, false}) {
        Met met(count);
        for (std::size_t step = 0; step < height; ++step) {
            const std::size_t row = down ? step : height - 1 - step;
            met.see(objects + row * width + begin, static_cast<float>(step), count);
            keep_met(met, static_cast<float>(step), count, all.at(row * width + begin));
        }
    }
}

// Looks further and further to both sides of `lanes` pixels until none can find a nearer second object.
ATROUS_CLONES void search_sides(Nearest row, std::size_t middle, std::size_t reach, float farthest, Nearest out) {
    float first[lanes], second[lanes];
    std::int32_t first_object[lanes], second_object[lanes];
    for (std::size_t lane = 0; lane < lanes; ++lane) {
        first[lane] = row.first[middle + lane];
        first_object[lane] = row.first_object[middle + lane];
        second[lane] = row.second[middle + lane];
        second_object[lane] = row.second_object[middle + lane];
    }
    for (std::size_t step = 1; step <= reach; ++step) {
        const float aside = static_cast<float>(step) * static_cast<float>(step);
        float open = 0;
        for (std::size_t lane = 0; lane < lanes; ++lane) open = second[lane] > open ? second[lane] : open;
        if (aside >= open || aside > farthest) break;
        for (const std::size_t start : {middle - step, middle + step}) {
            for (std::size_t lane = 0; lane < lanes; ++lane) {
                const std::size_t place = start + lane;
                keep(first[lane], first_object[lane], second[lane], second_object[lane], row.first[place] + aside,
                     row.first_object[place]);
                keep(first[lane], first_object[lane], second[lane], second_object[lane], row.second[place] + aside,
                     row.second_object[place]);
            }
        }
    }
    for (std::size_t lane = 0; lane < lanes; ++lane) {
        out.first[lane] = first[lane] <= farthest ? first[lane] : nowhere;
        out.second[lane] = second[lane] <= farthest ? second[lane] : nowhere;
    }
}

// One row with room at both ends, where nothing is, so that no step to the side needs a question.
class Row {
   public:
    Row(std::size_t width, std::size_t reach)
        : width_(width), reach_(reach), distances_(2 * (width + 2 * reach + lanes), nowhere),
          objects_(2 * (width + 2 * reach + lanes), nobody) {}

    void search(Nearest source, float farthest, float* first, float* second) {
        const std::size_t half = distances_.size() / 2;
        const Nearest row{distances_.data(), objects_.data(), distances_.data() + half, objects_.data() + half};
        std::copy_n(source.first, width_, row.first + reach_);
        std::copy_n(source.first_object, width_, row.first_object + reach_);
        std::copy_n(source.second, width_, row.second + reach_);
        std::copy_n(source.second_object, width_, row.second_object + reach_);
        float found[2][lanes];
        for (std::size_t start = 0; start < width_; start += lanes) {
            search_sides(row, start + reach_, reach_, farthest, {found[0], nullptr, found[1], nullptr});
            const std::size_t count = std::min(lanes, width_ - start);
            std::copy_n(found[0], count, first + start);
            std::copy_n(found[1], count, second + start);
        }
    }

   private:
    std::size_t width_, reach_;
    std::vector<float> distances_;
    std::vector<std::int32_t> objects_;
};

void two_nearest(const std::int32_t* objects, std::size_t height, std::size_t width, float farthest,
                 std::size_t reach, std::size_t threads, float* first, float* second) {
    const std::size_t pixels = height * width;
    std::vector<float> distances(2 * pixels, nowhere);
    std::vector<std::int32_t> numbers(2 * pixels, nobody);
    const Nearest all{distances.data(), numbers.data(), distances.data() + pixels, numbers.data() + pixels};
    in_strips_with_memory(width, std::min(threads, width), [&](std::size_t, std::size_t begin, std::size_t end) {
        search_columns(objects, height, width, begin, end, all);
    });
    in_strips_with_memory(height, std::min(threads, height), [&](std::size_t, std::size_t begin, std::size_t end) {
        Row row(width, reach);
        for (std::size_t line = begin; line < end; ++line)
            row.search(all.at(line * width), farthest, first + line * width, second + line * width);
    });
}

}  // namespace atrous
