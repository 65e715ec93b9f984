// Counts what the test program takes by operator new, as all native code does (AlignedBuffer too), and makes it fail.
#pragma once

#include <cstdint>

namespace whittle::test {

// Calls of operator new so far, on all threads.
uint64_t allocations();

// The n-th call from now on, counted from 0, throws std::bad_alloc, and all after it if `all`. Negative: none does.
void fail_allocation(int64_t nth, bool all = false);

// Whether a call has failed since fail_allocation().
bool allocation_failed();

}  // namespace whittle::test
