#include "engine/model_registry.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <sstream>

#include "cpu/error.h"

namespace whittle {

namespace {

struct Entry {
  std::mutex packing;
  std::weak_ptr<const PackedModel> model;
};

struct Registry {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<Entry>> entries;
};

// Never destroyed: models may be released while the process exits.
Registry& registry() {
  static Registry* const instance = new Registry;
  return *instance;
}

void describe(std::ostringstream& out, std::set<std::string>& files, const StoredTensor& tensor) {
  files.insert(tensor.file);
  out << tensor.file << ':' << tensor.offset << ':' << tensor.bytes << ':' << dtype_name(tensor.dtype) << ';';
}

std::string key_of(const ModelSpec& spec, const KernelTable& kernels) {
  std::ostringstream out;
  out << isa_name(kernels.isa) << ' ' << static_cast<int>(spec.precision) << ' ' << static_cast<int>(spec.task) << ' '
      << spec.labels << ' ' << spec.layers << ' ' << spec.hidden << ' ' << spec.heads << ' ' << spec.intermediate << ' '
      << static_cast<int>(spec.pooler_activation) << ' ' << spec.position_bias_rows << ' ' << spec.positions << ' '
      << spec.position_offset << ' ' << spec.token_types << ' ' << spec.norm_epsilon << '\n';
  std::set<std::string> files;
  for (const auto& [name, parameter] : spec.parameters) {
    out << name << '=';
    describe(out, files, parameter.tensor);
    if (parameter.has_scale) describe(out, files, parameter.scale);
  }
  for (const std::string& file : files) {
    struct stat found;
    if (::stat(file.c_str(), &found) != 0) throw Error("IO", file + " could not be read: " + std::strerror(errno));
    out << '\n'
        << found.st_dev << ' ' << found.st_ino << ' ' << found.st_size << ' ' << found.st_mtim.tv_sec << ' '
        << found.st_mtim.tv_nsec;
  }
  return out.str();
}

}  // namespace

std::shared_ptr<const PackedModel> shared_model(const ModelSpec& spec, const KernelTable& kernels, int threads,
                                                const std::function<void()>& check) {
  const std::string key = key_of(spec, kernels);
  std::shared_ptr<Entry> entry;
  {
    const std::lock_guard lock(registry().mutex);
    auto& entries = registry().entries;
    for (auto it = entries.begin(); it != entries.end();)
      it = it->second.use_count() == 1 && it->second->model.expired() ? entries.erase(it) : std::next(it);
    std::shared_ptr<Entry>& slot = entries[key];
    if (!slot) slot = std::make_shared<Entry>();
    entry = slot;
  }
  const std::lock_guard lock(entry->packing);
  std::shared_ptr<const PackedModel> model = entry->model.lock();
  if (!model) {
    model = std::make_shared<const PackedModel>(spec, kernels, threads, check);
    entry->model = model;
  }
  return model;
}

}  // namespace whittle
