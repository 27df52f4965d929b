#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

namespace atrous {

// Where the threads of a team wait for each other. Work between two barriers takes about a millisecond, so a thread
// first looks again and again. Where others want the processor, that would take from the very thread that is waited for,
// so it then sleeps.
class Barrier {
   public:
    explicit Barrier(std::size_t members) : members_(members) {}

    void wait() {
        const std::size_t round = round_.load(std::memory_order_acquire);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == members_) {
            arrived_.store(0, std::memory_order_relaxed);
            {
                const std::lock_guard<std::mutex> lock(mutex_);
                round_.store(round + 1, std::memory_order_release);
            }
            if (sleepers_.load(std::memory_order_acquire) > 0) next_round_.notify_all();
            return;
        }
        for (int look = 0; look < looks; ++look) {
            if (round_.load(std::memory_order_acquire) != round) return;
            breathe();
        }
        std::unique_lock<std::mutex> lock(mutex_);
        sleepers_.fetch_add(1, std::memory_order_acq_rel);
        next_round_.wait(lock, [&] { return round_.load(std::memory_order_acquire) != round; });
        sleepers_.fetch_sub(1, std::memory_order_acq_rel);
    }

   private:
    static constexpr int looks = 1500;  // some 50 microseconds

    static void breathe() {
#if defined(__x86_64__) && defined(__GNUC__)
        __builtin_ia32_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
        __asm__ volatile("isb");  // takes about as long
#else
        std::this_thread::yield();
#endif
    }
    const std::size_t members_;
    std::atomic<std::size_t> arrived_{0}, round_{0};
    std::atomic<int> sleepers_{0};
    std::mutex mutex_;
    std::condition_variable next_round_;
};

// Calls work(member, barrier) on `members` threads at once, the first of them this one; `work` must not throw.
// Throws, and has called nothing, where the system gives no more threads.
template <typename Work>
void as_team(std::size_t members, const Work& work) {
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
    } catch (...) {
        complete = false;
    }
    go.store(complete ? 1 : 2, std::memory_order_release);
    if (complete) work(0, barrier);
    for (auto& thread : threads) thread.join();
    if (!complete) throw std::runtime_error("the system starts no more threads; give fewer, such as threads=1");
}

}  // namespace atrous
