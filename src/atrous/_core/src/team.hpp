#pragma once

#include <atomic>
#include <cstddef>
#include <system_error>
#include <thread>
#include <vector>

namespace atrous {

// Where the threads of a team wait for each other. Work between two barriers takes about a millisecond, so a thread
// first looks again and again; where there are more threads than processors that would be a waste, so it then gives way.
class Barrier {
   public:
    explicit Barrier(std::size_t members) : members_(members) {}

    void wait() {
        const std::size_t round = round_.load(std::memory_order_acquire);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == members_) {
            arrived_.store(0, std::memory_order_relaxed);
            round_.store(round + 1, std::memory_order_release);
            return;
        }
        for (int look = 0; round_.load(std::memory_order_acquire) == round; ++look)
            if (look > 2000) std::this_thread::yield();
    }

   private:
    const std::size_t members_;
    std::atomic<std::size_t> arrived_{0}, round_{0};
};

// Calls work(member, barrier) on `members` threads at once, the first of them this one; `work` must not throw.
// Returns false, and has called nothing, where the system gives no more threads.
template <typename Work>
bool as_team(std::size_t members, const Work& work) {
    Barrier barrier(members);
    std::atomic<int> go{0};
    std::vector<std::thread> threads;
    threads.reserve(members);
    bool complete = true;
    try {
        for (std::size_t member = 1; member < members; ++member)
            threads.emplace_back([&, member] {
                while (go.load(std::memory_order_acquire) == 0) std::this_thread::yield();
                if (go.load(std::memory_order_acquire) == 1) work(member, barrier);
            });
    } catch (const std::system_error&) {
        complete = false;
    }
    go.store(complete ? 1 : 2, std::memory_order_release);
    if (complete) work(0, barrier);
    for (auto& thread : threads) thread.join();
    return complete;
}

}  // namespace atrous
