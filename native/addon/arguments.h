// Checked reading of JavaScript arguments. Each throws whittle::Error BAD_OPTION with one sentence that names the
// argument, what was expected and what was found.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

namespace whittle {

// The elements of a typed array, in place. Valid while JavaScript keeps the array: an asynchronous task must keep it
// alive (AsyncTask::keep).
template <typename T>
struct Elements {
  T* data;
  int64_t count;
};

// T is float, int32_t, int8_t, uint8_t, uint16_t or double. count < 0: any length.
template <typename T>
Elements<T> elements(const Napi::Value& value, const char* name, int64_t count = -1);

// A whole number within [low, high].
int64_t integer(const Napi::Value& value, const char* name, int64_t low, int64_t high = int64_t{1} << 53);
double number(const Napi::Value& value, const char* name);
bool boolean(const Napi::Value& value, const char* name);
std::string text(const Napi::Value& value, const char* name);
Napi::Object object(const Napi::Value& value, const char* name);
Napi::Array array(const Napi::Value& value, const char* name);
// An array of whole numbers >= 0, such as a shape.
std::vector<int64_t> integers(const Napi::Value& value, const char* name);

}  // namespace whittle
