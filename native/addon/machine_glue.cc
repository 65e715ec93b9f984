#include "addon/glue.h"
#include "cpu/cpu_info.h"

namespace whittle {

namespace {

Napi::Value machine_info(const Napi::CallbackInfo& info) {
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("threads", cpu_info().threads);
  return result;
}

}  // namespace

void add_machine_glue(Napi::Env env, Napi::Object exports) {
  exports.Set("machineInfo", Napi::Function::New(env, machine_info, "machineInfo"));
}

}  // namespace whittle
