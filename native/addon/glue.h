// What every glue file needs: how functions are exported, and what addon.cc calls.
#pragma once

#include <napi.h>

#include <exception>

namespace whittle {

// A JavaScript error with the property `code`: that of whittle::Error, MEMORY for std::bad_alloc, INTERNAL for every
// other exception.
// bindings/load.ts turns it into a WhittleError.
Napi::Error javascript_error(Napi::Env env, const std::exception& error);

// Throws the C++ exception that is being handled as a JavaScript one. Does nothing if the environment is going down and
// takes no more exceptions (a worker that is terminated), where node-addon-api would end the process.
void throw_in_javascript(Napi::Env env) noexcept;

// Buffers of JavaScript. Throw Error MEMORY; the constructors of node-addon-api end the process where memory is short.
Napi::ArrayBuffer new_buffer(Napi::Env env, size_t bytes);
template <typename T>
Napi::TypedArrayOf<T> new_array(Napi::Env env, size_t count) {
  return Napi::TypedArrayOf<T>::New(env, count, new_buffer(env, count * sizeof(T)), 0);
}

namespace detail {

template <Napi::Value (*function)(const Napi::CallbackInfo&)>
Napi::Value guarded(const Napi::CallbackInfo& info) {
  try {
    return function(info);
  } catch (...) {
    throw_in_javascript(info.Env());
    return Napi::Value();
  }
}

}  // namespace detail

// exports[name] = function, with C++ exceptions turned into JavaScript ones:
//   export_function<machine_info>(exports, "machineInfo");
template <Napi::Value (*function)(const Napi::CallbackInfo&)>
void export_function(Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<detail::guarded<function>>(exports.Env(), name));
}

void add_engine_glue(Napi::Env env, Napi::Object exports);
void add_formats_glue(Napi::Env env, Napi::Object exports);
void add_machine_glue(Napi::Env env, Napi::Object exports);
void add_compress_glue(Napi::Env env, Napi::Object exports);
void add_dropout_glue(Napi::Env env, Napi::Object exports);
void add_optimizer_glue(Napi::Env env, Napi::Object exports);
void add_tensor_glue(Napi::Env env, Napi::Object exports);
void add_text_glue(Napi::Env env, Napi::Object exports);
void add_training_glue(Napi::Env env, Napi::Object exports);

}  // namespace whittle
