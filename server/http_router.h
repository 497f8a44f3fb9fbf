#pragma once
// Which handler answers a method on a path. HEAD goes with every GET and OPTIONS with every path.
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "server/access.h"
#include "server/http_message.h"
#include "server/http_target.h"

namespace bailiff::server {

/// What a handler gets: the request, the values of the path's {variables} in order, the query, and the client that waits.
struct Call {
  const Request& request;
  std::vector<std::string> path_values;
  std::vector<std::pair<std::string, std::string>> query;
  Client& client;
  const Caller& caller;
};

using Handler = std::function<boost::asio::awaitable<Response>(Call call)>;

struct Route {
  std::string method;   // GET, POST
  std::string
      pattern;  // "/v1/jobs/{id}:cancel": a variable is one segment, or what of it stands between fixed texts; "{path*}": all the rest
  Scope scope = Scope::admin;  // that the caller's key must have
  Handler handler;
  std::string media_type = "application/json";  // of a good answer, for Accept
  std::string other_media_type = {};            // which it has where Accept asks for it instead
  bool takes_json = false;                      // the body is JSON: other content types are 415
  bool takes_file = false;                      // the body goes into Request::body_file, within HttpBounds::file_bytes
};

struct Match {
  const Route* route = nullptr;          // nullptr: 404 where `allow` is empty, else OPTIONS or 405
  std::vector<std::string> path_values;
  std::string allow;                     // "GET, HEAD, OPTIONS": what this path has
};

class Router {
 public:
  void add(Route route);
  /// HEAD finds the GET route.
  [[nodiscard]] Match match(std::string_view method, const Target& target) const;
  [[nodiscard]] const std::vector<Route>& routes() const { return routes_; }

 private:
  struct Segment {
    std::string fixed;   // the whole segment, or what follows the variable
    std::string before;  // what stands before the variable
    bool variable = false;
    bool rest = false;  // the variable is this segment and all that follow
  };
  static bool fits(const std::vector<Segment>& pattern, const std::vector<std::string>& path, std::vector<std::string>& values);
  std::vector<Route> routes_;
  std::vector<std::vector<Segment>> patterns_;  // one of each route
};

}  // namespace bailiff::server
