#include "addon/arguments.h"

#include <cmath>
#include <type_traits>

#include "cpu/error.h"

namespace whittle {

namespace {

const char* kind(const Napi::Value& value) {
  if (value.IsUndefined()) return "undefined";
  if (value.IsNull()) return "null";
  if (value.IsTypedArray()) return "another typed array";
  if (value.IsArray()) return "an array";
  if (value.IsNumber()) return "a number";
  if (value.IsString()) return "a string";
  if (value.IsBoolean()) return "a boolean";
  return "an object";
}

[[noreturn]] void refuse(const Napi::Value& value, const char* name, const std::string& expected) {
  throw Error("BAD_OPTION", std::string("Expected ") + expected + " for " + name + " but received " + kind(value));
}

template <typename T>
constexpr napi_typedarray_type array_type() {
  if constexpr (std::is_same_v<T, float>) return napi_float32_array;
  if constexpr (std::is_same_v<T, double>) return napi_float64_array;
  if constexpr (std::is_same_v<T, int32_t>) return napi_int32_array;
  if constexpr (std::is_same_v<T, int8_t>) return napi_int8_array;
  if constexpr (std::is_same_v<T, uint16_t>) return napi_uint16_array;
  return napi_uint8_array;
}

const char* array_name(napi_typedarray_type type) {
  switch (type) {
    case napi_float32_array:
      return "a Float32Array";
    case napi_float64_array:
      return "a Float64Array";
    case napi_int32_array:
      return "an Int32Array";
    case napi_int8_array:
      return "an Int8Array";
    case napi_uint16_array:
      return "a Uint16Array";
    default:
      return "a Uint8Array";
  }
}

}  // namespace

template <typename T>
Elements<T> elements(const Napi::Value& value, const char* name, int64_t count) {
  constexpr napi_typedarray_type type = array_type<T>();
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type)
    refuse(value, name, array_name(type));
  napi_typedarray_type found;
  size_t length;
  void* data;
  if (napi_get_typedarray_info(value.Env(), value, &found, &length, &data, nullptr, nullptr) != napi_ok)
    refuse(value, name, array_name(type));
  if (count >= 0 && static_cast<int64_t>(length) != count)
    throw Error("BAD_OPTION", "Expected " + std::to_string(count) + " elements for " + name + " but received " +
                                  std::to_string(length));
  return {static_cast<T*>(data), static_cast<int64_t>(length)};
}

template Elements<float> elements<float>(const Napi::Value&, const char*, int64_t);
template Elements<double> elements<double>(const Napi::Value&, const char*, int64_t);
template Elements<int32_t> elements<int32_t>(const Napi::Value&, const char*, int64_t);
template Elements<int8_t> elements<int8_t>(const Napi::Value&, const char*, int64_t);
template Elements<uint8_t> elements<uint8_t>(const Napi::Value&, const char*, int64_t);
template Elements<uint16_t> elements<uint16_t>(const Napi::Value&, const char*, int64_t);

int64_t integer(const Napi::Value& value, const char* name, int64_t low, int64_t high) {
  const double found = number(value, name);
  if (!(found >= static_cast<double>(low) && found <= static_cast<double>(high)) || found != std::floor(found))
    throw Error("BAD_OPTION", "Expected a whole number from " + std::to_string(low) + " to " + std::to_string(high) +
                                  " for " + name + " but received " + std::to_string(found));
  return static_cast<int64_t>(found);
}

double number(const Napi::Value& value, const char* name) {
  if (!value.IsNumber()) refuse(value, name, "a number");
  return value.As<Napi::Number>().DoubleValue();
}

bool boolean(const Napi::Value& value, const char* name) {
  if (!value.IsBoolean()) refuse(value, name, "a boolean");
  return value.As<Napi::Boolean>().Value();
}

std::string text(const Napi::Value& value, const char* name) {
  if (!value.IsString()) refuse(value, name, "a string");
  return value.As<Napi::String>().Utf8Value();
}

Napi::Object object(const Napi::Value& value, const char* name) {
  if (!value.IsObject()) refuse(value, name, "an object");
  return value.As<Napi::Object>();
}

Napi::Array array(const Napi::Value& value, const char* name) {
  if (!value.IsArray()) refuse(value, name, "an array");
  return value.As<Napi::Array>();
}

std::vector<int64_t> integers(const Napi::Value& value, const char* name) {
  const Napi::Array list = array(value, name);
  std::vector<int64_t> result(list.Length());
  for (uint32_t i = 0; i < list.Length(); ++i) result[i] = integer(list.Get(i), name, 0);
  return result;
}

}  // namespace whittle
