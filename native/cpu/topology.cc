// Which hardware threads share a physical core, as Linux tells it in /sys/devices/system/cpu.
#include <fstream>
#include <set>

#include "cpu/cpu_info.h"

namespace whittle {

namespace {

// The hardware threads of a CPU's core, such as "0,4"; the same text for each of them. Empty where it is unknown.
std::string siblings_of(int cpu, const std::string& cpu_root) {
  std::string folder = cpu_root + "/cpu" + std::to_string(cpu) + "/topology/", line;
  for (const char* name : {"core_cpus_list", "thread_siblings_list"}) {  // the second one before Linux 5.3
    std::ifstream file(folder + name);
    if (std::getline(file, line) && !line.empty()) return line;
  }
  return {};
}

}  // namespace

int physical_cores(const std::vector<int>& cpus, const std::string& cpu_root) {
  std::set<std::string> cores;
  int unknown = 0;
  for (int cpu : cpus) {
    std::string siblings = siblings_of(cpu, cpu_root);
    if (siblings.empty()) {
      ++unknown;
    } else {
      cores.insert(siblings);
    }
  }
  return static_cast<int>(cores.size()) + unknown;
}

}  // namespace whittle
