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

void add_machine_glue(Napi::Env, Napi::Object exports) {
  export_function<machine_info>(exports, "machineInfo");
}

}  // namespace whittle
