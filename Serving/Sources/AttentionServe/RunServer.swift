import AttentionServing
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Shows a training run while it runs: a page and what its folder says of it.
struct RunServer {
  let monitor: RunMonitor
  let host: String
  let port: Int
  /// Whether to end when the process that started this one has ended.
  let endsWithParent: Bool
  let logger: Logger

  private static let parentInterval = Duration.seconds(1)

  /// Serves until a signal arrives.
  func run() async throws {
    let parent = getppid()
    let application = Application(
      responder: RunResponder(monitor: monitor),
      configuration: .init(address: .hostname(host, port: port), serverName: "swift-attention"),
      onServerRunning: { [logger] channel in
        let place = channel.localAddress.map { "http://\($0.ipAddress ?? ""):\($0.port ?? 0)" }
        logger.notice("listening", metadata: ["address": "\(place ?? "")"])
      },
      logger: logger)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await application.runService() }
      if endsWithParent {
        group.addTask {
          while getppid() == parent { try await Task.sleep(for: Self.parentInterval) }
        }
      }
      // Whichever ends first ends the other.
      try await group.next()
      group.cancelAll()
    }
  }
}

private struct RunResponder: HTTPResponder {
  typealias Context = BasicRequestContext

  let monitor: RunMonitor

  func respond(to request: Request, context: Context) async throws -> Response {
    let reply = monitor.reply(
      to: .init(
        method: request.method.rawValue, path: request.uri.path,
        header: { [fields = request.headers, authority = request.head.authority] name in
          if name == "Host", let authority { return authority }
          return HTTPField.Name(name).flatMap { fields[$0] }
        }))
    var headers: HTTPFields = [.contentType: reply.contentType]
    for (name, value) in reply.headers {
      if let name = HTTPField.Name(name) { headers[name] = value }
    }
    guard case .bytes(let bytes) = reply.body else { return Response(status: .noContent) }
    return Response(
      status: .init(code: reply.status), headers: headers,
      body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
  }
}
