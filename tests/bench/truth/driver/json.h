// Lines of JSON, and the end with a message.
#ifndef SMAXD_DRIVER_JSON_H_
#define SMAXD_DRIVER_JSON_H_

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>

namespace driver {

using std::uint64_t;

[[noreturn]] inline void Fail(const std::string& what) {
  std::cerr << "driver: " << what << std::endl;
  std::exit(1);
}


// One line of JSON, its fields in the order in which they are added.
class Json {
 public:
  Json& Add(const char* name, double value) {
    std::ostringstream text;
    text.precision(12);
    if (std::isfinite(value)) {
      text << value;
    } else {
      text << "null";
    }
    return Raw(name, text.str());
  }
  Json& Add(const char* name, uint64_t value) { return Raw(name, std::to_string(value)); }
  Json& Add(const char* name, bool value) { return Raw(name, value ? "true" : "false"); }
  Json& Add(const char* name, const char* value) {
    return Raw(name, "\"" + std::string(value) + "\"");  // only words of this file: no escapes
  }
  Json& Raw(const char* name, const std::string& value) {
    text_ += (text_.empty() ? "\"" : ", \"") + std::string(name) + "\": " + value;
    return *this;
  }
  void Print() const {
    std::cout << "{" + text_ + "}\n" << std::flush;
  }

 private:
  std::string text_;
};

}  // namespace driver

#endif
