#include "addon/glue.h"

#include <new>
#include <stdexcept>
#include <string>

#include "cpu/error.h"

namespace whittle {

Napi::Error javascript_error(Napi::Env env, const std::exception& error) {
  const auto* ours = dynamic_cast<const Error*>(&error);
  const bool out_of_memory = dynamic_cast<const std::bad_alloc*>(&error) || dynamic_cast<const std::length_error*>(&error);
  Napi::Error result = Napi::Error::New(
      env, out_of_memory ? "Expected memory for the work of this call but the system has none left" : error.what());
  result.Value().Set("code", Napi::String::New(env, ours ? ours->code() : out_of_memory ? "MEMORY" : "INTERNAL"));
  return result;
}

Napi::ArrayBuffer new_buffer(Napi::Env env, size_t bytes) {
  try {
    const Napi::Function constructor = env.Global().Get("ArrayBuffer").As<Napi::Function>();
    return constructor.New({Napi::Number::New(env, static_cast<double>(bytes))}).As<Napi::ArrayBuffer>();
  } catch (const Napi::Error&) {
    throw Error("MEMORY",
                "Expected memory for " + std::to_string(bytes) + " bytes of results but the system has none left");
  }
}

void throw_in_javascript(Napi::Env env) noexcept {
  try {
    try {
      throw;
    } catch (const Napi::Error& error) {
      napi_throw(env, error.Value());
    } catch (const std::exception& error) {
      napi_throw(env, javascript_error(env, error).Value());
    }
  } catch (const Napi::Error&) {
  }
}

}  // namespace whittle
