// Gathering rows of a table, and the gradient of that.
#pragma once

#include <cstdint>

#include "ops/context.h"

namespace whittle {

// y [count, width] = rows ids[i] of table [rows, width]. Throws BAD_OPTION for an id outside [0, rows).
void gather_rows(const float* table, int64_t rows, int64_t width, const int32_t* ids, int64_t count, float* y,
                 const Context& context);
// The gradient: dtable row ids[i] = the sum of the dy rows with that id, in the order of i; rows that do not occur are
// left alone.
void scatter_add_rows(const float* dy, const int32_t* ids, int64_t count, int64_t rows, int64_t width, float* dtable,
                      const Context& context);

}  // namespace whittle
