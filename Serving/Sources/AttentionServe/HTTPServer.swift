import AttentionServing
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import ServiceLifecycle
import Synchronization
import UnixSignals

/// Listens, and ends cleanly: after SIGTERM or SIGINT the answers under way are finished while new requests are
/// answered with status 503; then the connections are closed.
struct HTTPServer {
  let service: AttentionServing.Service
  let host: String
  let port: Int
  /// How long answers may take after the signal.
  let drainTime: Duration
  let logger: Logger

  /// How long a connection may be silent in the middle of a request or between two.
  private static let idleTime = TimeAmount.seconds(30)
  /// How long the body of a request may take to arrive.
  private static let bodyTime = Duration.seconds(30)
  /// The most bytes of the headers of a request.
  private static let headerBytes = 16 << 10
  /// How many connections there may be; others wait to be accepted.
  private static let connections = 4096

  /// Serves until a signal arrives.
  func run() async throws {
    let activity = Activity()
    let application = Application(
      responder: HTTPService(service: service, bodyTime: Self.bodyTime, activity: activity),
      server: .http1(
        configuration: .init(
          idleTimeout: Self.idleTime,
          httpDecoderConfiguration: .init(
            maxHeaderFieldSize: Self.headerBytes, maxHeaderListSize: Self.headerBytes,
            maxHeaderFieldCount: 100))),
      configuration: .init(
        address: .hostname(host, port: port), serverName: "swift-attention", backlog: 1024,
        availableConnectionsDelegate: MaximumAvailableConnections(Self.connections)),
      onServerRunning: { [logger, service] channel in
        let place = channel.localAddress.map { "http://\($0.ipAddress ?? ""):\($0.port ?? 0)" }
        logger.notice(
          "listening", metadata: ["address": "\(place ?? "")", "model": "\(service.name)"])
      },
      logger: logger)
    let drain = DrainService(
      service: service, activity: activity, time: drainTime, logger: logger)
    var configuration = ServiceGroupConfiguration(
      services: [
        .init(service: application, successTerminationBehavior: .gracefullyShutdownGroup),
        .init(service: drain, successTerminationBehavior: .gracefullyShutdownGroup),
      ], logger: logger)
    configuration.maximumGracefulShutdownDuration = Duration.seconds(5)
    try await ServiceGroup(configuration: configuration).run()
    service.engine.stop()
    logger.notice("ended")
  }
}

/// Waits for a signal, then until the answers under way have ended.
private struct DrainService: ServiceLifecycle.Service {
  let service: AttentionServing.Service
  let activity: Activity
  let time: Duration
  let logger: Logger

  private static let interval = Duration.milliseconds(20)

  func run() async throws {
    for await signal in await UnixSignalsSequence(trapping: .sigterm, .sigint)
      .cancelOnGracefulShutdown()
    {
      logger.notice("draining", metadata: ["signal": "\(signal)"])
      break
    }
    service.engine.drain()
    let end = ContinuousClock.now + time
    while !(activity.isIdle && service.engine.isIdle), ContinuousClock.now < end {
      try await Task.sleep(for: Self.interval)
    }
    if !service.engine.isIdle { logger.warning("some answers were not finished in time") }
  }
}
