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
    let reply = await reply(to: request, head)
    context.logger.info(
      "request",
      metadata: [
        "method": "\(head.method)", "path": "\(head.path)",
        "status": "\(reply.response.status.code)",
        "client": "\(head.client)",
        "milliseconds": "\(Int((ContinuousClock.now - begun) / .milliseconds(1)))",
      ])
    return reply.response
  }

  private struct Answered {
    var response: Response
  }

  private func reply(to original: Request, _ head: Service.Request) async -> Answered {
    if let refusal = service.refusal(of: head) { return Answered(response: closing(refusal)) }
    guard head.method == "POST" else {
      return Answered(response: response(await service.reply(to: head)))
    }
    var request = original
    let body: [UInt8]
    do throws(APIError) { body = try await read(&request) } catch {
      return Answered(response: closing(service.reply(to: error)))
    }
    activity.begin()
    defer { activity.end() }
    let watched = request
    do {
      let reply = try await watched.body.consumeWithCancellationOnInboundClose { _ in
        await service.reply(to: head, body: body)
      }
      return Answered(response: closing(reply))
    } catch {
      // The client has left: nobody reads this.
      return Answered(response: Response(status: .init(code: 499), headers: [.connection: "close"]))
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

  private func response(_ reply: Service.Reply) -> Response {
    var headers: HTTPFields = [.contentType: reply.contentType]
    for (name, value) in reply.headers {
      if let name = HTTPField.Name(name) { headers[name] = value }
    }
    let body: ResponseBody =
      switch reply.body {
      case .bytes(let bytes): ResponseBody(byteBuffer: ByteBuffer(bytes: bytes))
      case .stream(let events):
        ResponseBody { [activity] writer in
          activity.begin()
          defer { activity.end() }
          // A failed write ends the loop, and with it generation.
          for await bytes in events { try await writer.write(ByteBuffer(bytes: bytes)) }
          try await writer.finish(nil)
        }
      }
    return Response(status: .init(code: reply.status), headers: headers, body: body)
  }

  /// An answer after which the connection is closed, because the rest of the request has not been read or what
  /// comes after it has been watched for the client's leaving.
  private func closing(_ reply: Service.Reply) -> Response {
    var response = response(reply)
    response.headers[.connection] = "close"
    return response
  }
}

/// What is known of a connection.
struct ConnectionContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  /// The address of the other end, without its port.
  let client: String

  init(source: Source) {
    coreContext = .init(source: source)
    client = source.channel.remoteAddress?.ipAddress ?? ""
  }
}
