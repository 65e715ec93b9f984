// The CPU quota that a container runtime set, from cgroup v2 (cpu.max) or v1 (cpu.cfs_quota_us).
#include <algorithm>
#include <fstream>
#include <sstream>

#include "cpu/cpu_info.h"

namespace whittle {

namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

double quota_v2(const std::string& folder) {
  std::istringstream line(first_line(folder + "/cpu.max"));
  double quota = 0, period = 0;
  return line >> quota >> period && quota > 0 && period > 0 ? quota / period : 0;  // "max 100000" fails to parse
}

double quota_v1(const std::string& folder) {
  std::istringstream quota_line(first_line(folder + "/cpu.cfs_quota_us"));
  std::istringstream period_line(first_line(folder + "/cpu.cfs_period_us"));
  double quota = 0, period = 0;
  return quota_line >> quota && period_line >> period && quota > 0 && period > 0 ? quota / period : 0;
}

// The smallest quota from root + path up to root itself: a parent's quota binds its children.
template <typename Read>
double smallest_quota(const std::string& root, std::string path, Read read) {
  double smallest = 0;
  for (;;) {
    double quota = read(root + path);
    if (quota > 0) smallest = smallest > 0 ? std::min(smallest, quota) : quota;
    if (path.empty()) return smallest;
    path.resize(std::min(path.find_last_of('/'), path.size()));
  }
}

}  // namespace

double cgroup_cpu_quota(const std::string& proc_root, const std::string& cgroup_root) {
  // Lines are "0::/path" (v2) and "4:cpu,cpuacct:/path" (v1). Inside a container the path may not exist below the
  // mount, which then shows the container's own cgroup at its root.
  std::ifstream file(proc_root + "/cgroup");
  double smallest = 0;
  for (std::string line; std::getline(file, line);) {
    size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",", path = line.substr(second + 1);
    if (path.empty() || path.front() != '/') path.clear();
    while (!path.empty() && path.back() == '/') path.pop_back();
    double quota = 0;
    if (controllers == ",,") {
      quota = smallest_quota(cgroup_root, path, quota_v2);
    } else if (controllers.find(",cpu,") != std::string::npos) {
      quota = smallest_quota(cgroup_root + "/cpu", path, quota_v1);
      if (quota == 0) quota = smallest_quota(cgroup_root + "/cpu,cpuacct", path, quota_v1);
    }
    if (quota > 0) smallest = smallest > 0 ? std::min(smallest, quota) : quota;
  }
  return smallest;
}

}  // namespace whittle
