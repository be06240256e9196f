import AttentionServing
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// Carries a service's answers over HTTP: reads bodies within limits, streams answers, and ends generation when a
/// client leaves.
struct HTTPService: HTTPResponder {
  typealias Context = ConnectionContext

  let service: Service
  /// How long a body may take to arrive.
  let bodyTime: Duration
  let activity: Activity

  func respond(to request: Request, context: Context) async throws -> Response {
    let begun = ContinuousClock.now
    let head = Service.Request(
      method: request.method.rawValue, path: request.uri.path, client: context.client,
      header: { [fields = request.headers, authority = request.head.authority] name in
        // The codec moves Host out of the fields.
        if name == "Host", let authority { return authority }
        return HTTPField.Name(name).flatMap { fields[$0] }
      })
    let response = await response(to: request, head, context)
    context.logger.info(
      "request",
      metadata: [
        "method": "\(head.method)", "path": "\(head.path)", "status": "\(response.status.code)",
        "client": "\(head.client)",
        "milliseconds": "\(Int((ContinuousClock.now - begun) / .milliseconds(1)))",
      ])
    return response
  }

  private func response(
    to original: Request, _ head: Service.Request, _ context: Context
  ) async -> Response {
    if let refusal = service.refusal(of: head) { return closing(refusal, original, context) }
    guard head.method == "POST" else {
      return response(await service.reply(to: head), original, context)
    }
    activity.begin()
    defer { activity.end() }
    var request = original
    let body: [UInt8]
    do throws(APIError) { body = try await read(&request) } catch {
      return closing(service.reply(to: error), original, context)
    }
    switch service.begin(head, body: body) {
    case .reply(let reply): return closing(reply, request, context)
    case .pending(let pending):
      do {
        let reply = try await request.body.consumeWithCancellationOnInboundClose { _ in
          await service.finish(pending)
        }
        return closing(reply, request, context)
      } catch {
        // The client has left: nobody reads this.
        return Response(status: .init(code: 499), headers: [.connection: "close"])
      }
    }
  }

  /// Reads the body, and keeps what tells later that the client has left.
  private func read(_ request: inout Request) async throws(APIError) -> [UInt8] {
    let limit = service.engine.limits.bodyBytes
    if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > limit {
      throw .bodyTooLarge(limit: limit)
    }
    let (time, whole) = (bodyTime, request)
    do {
      let (read, bytes) = try await withThrowingTaskGroup(of: (Request, ByteBuffer).self) { group in
        group.addTask {
          var request = whole
          let bytes = try await request.collectBody(upTo: limit)
          return (request, bytes)
        }
        group.addTask {
          try await Task.sleep(for: time)
          throw APIError.bodyTooSlow
        }
        defer { group.cancelAll() }
        guard let first = try await group.next() else { throw APIError.bodyTooSlow }
        return first
      }
      request = read
      return Array(bytes.readableBytesView)
    } catch let error as APIError {
      throw error
    } catch is NIOTooManyBytesError {
      throw .bodyTooLarge(limit: limit)
    } catch let error as any HTTPResponseError where error.status == .contentTooLarge {
      throw .bodyTooLarge(limit: limit)
    } catch {
      throw APIError(
        status: 400, type: "invalid_request_error", code: "invalid_body",
        message: "the body of the request cannot be read")
    }
  }

  private func response(
    _ reply: Service.Reply, _ request: Request, _ context: Context
  ) -> Response {
    var headers: HTTPFields = [.contentType: reply.contentType]
    for (name, value) in reply.headers {
      if let name = HTTPField.Name(name) { headers[name] = value }
    }
    let body: ResponseBody =
      switch reply.body {
      case .bytes(let bytes): ResponseBody(byteBuffer: ByteBuffer(bytes: bytes))
      case .stream(let events): stream(events, request, context)
      }
    return Response(status: .init(code: reply.status), headers: headers, body: body)
  }

  /// Sends events as they come. A client that leaves ends the generation; one that does not read is cut off some
  /// time after the answer must have ended.
  private func stream(
    _ events: EventStream, _ request: Request, _ context: Context
  ) -> ResponseBody {
    let channel = context.channel
    let longest = TimeAmount.milliseconds(
      Int64((service.engine.limits.requestSeconds + Self.readTime) * 1000))
    return ResponseBody { [activity] writer in
      activity.begin()
      defer { activity.end() }
      let limit = channel.eventLoop.scheduleTask(in: longest) { channel.close(promise: nil) }
      defer { limit.cancel() }
      try await request.body.consumeWithInboundCloseHandler { _ in
        for await bytes in events { try await writer.write(ByteBuffer(bytes: bytes)) }
      } onInboundClosed: {
        events.cancel()
      }
      try await writer.finish(nil)
    }
  }

  /// How long after an answer's end its client may still read, in seconds.
  private static let readTime = 60.0

  /// An answer after which the connection is closed, because the rest of the request has not been read or what
  /// comes after it has been watched for the client's leaving.
  private func closing(
    _ reply: Service.Reply, _ request: Request, _ context: Context
  ) -> Response {
    var response = response(reply, request, context)
    response.headers[.connection] = "close"
    return response
  }
}

/// What is known of a connection.
struct ConnectionContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  /// The address of the other end, without its port.
  let client: String
  let channel: any Channel

  init(source: Source) {
    coreContext = .init(source: source)
    channel = source.channel
    client = source.channel.remoteAddress?.ipAddress ?? ""
  }
}
