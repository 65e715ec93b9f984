// Reads descriptions of stored tensors, as bindings/native.ts has them, from JavaScript.
#pragma once

#include "addon/arguments.h"
#include "formats/tensor_file.h"

namespace whittle {

StoredTensor stored_tensor(const Napi::Value& value, const char* name);
StoredParameter stored_parameter(const Napi::Value& value, const char* name);

}  // namespace whittle
