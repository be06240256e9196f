import AttentionCLibrary
import AttentionTensors
import FoundationEssentials

/// Shows a training run: a page, and the files of its folder that the page reads.
///
/// | request | answer |
/// | --- | --- |
/// | `GET /` | the page |
/// | `GET /metrics.jsonl` | the figures of the run's steps, one object per line; at most the last ones |
/// | `GET /configuration.json` | its configuration |
/// | `GET /process` | the memory of the process that trains, where it is known |
public struct RunMonitor: Sendable {
  private let folder: String
  private let process: Int32?

  /// The most bytes of figures in an answer.
  private static let mostBytes = 4 << 20

  /// - Parameters:
  ///   - folder: the run's output folder, which need not be there yet.
  ///   - process: the number of the process that trains; nil if it is not known.
  public init(folder: String, process: Int32? = nil) {
    self.folder = folder
    self.process = process
  }

  /// The answer to a request without a body.
  public func reply(to request: Service.Request) -> Service.Reply {
    guard request.method == "GET" || request.method == "HEAD" else {
      return text(405, "only GET is answered\n")
    }
    switch request.path {
    case "/":
      return Service.Reply(
        status: 200, contentType: "text/html; charset=utf-8",
        headers: [("Content-Security-Policy", MonitorPage.policy)],
        body: .bytes(Array(RunPage.html.utf8)))
    case "/metrics.jsonl": return file("metrics.jsonl", "application/x-ndjson")
    case "/configuration.json": return file("configuration.json", "application/json")
    case "/process":
      let members = residentBytes.map { "\"resident_bytes\":\($0)" } ?? ""
      return Service.Reply(
        status: 200, contentType: "application/json", body: .bytes(Array("{\(members)}".utf8)))
    default: return text(404, "there is no such page\n")
    }
  }

  private func text(_ status: Int, _ text: String) -> Service.Reply {
    Service.Reply(
      status: status, contentType: "text/plain; charset=utf-8", body: .bytes(Array(text.utf8)))
  }

  /// A file of the folder, or its last lines if it is long. Only regular files: a pipe would never end.
  private func file(_ name: String, _ type: String) -> Service.Reply {
    let path = folder + "/" + name
    guard (try? AtomicFile.requireRegular(path)) != nil,
      let data = try? Data(contentsOf: URL(filePath: path))
    else { return text(404, "the run has no \(name) yet\n") }
    var bytes = Array(data)
    if bytes.count > Self.mostBytes {
      let rest = bytes.suffix(Self.mostBytes)
      let start = rest.firstIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? rest.endIndex
      bytes = Array(rest[start...])
    }
    return Service.Reply(
      status: 200, contentType: type, headers: [("Cache-Control", "no-store")],
      body: .bytes(bytes))
  }

  /// The memory of the process that trains; nil where the system does not tell.
  private var residentBytes: Int? {
    guard let process, let data = try? Data(contentsOf: URL(filePath: "/proc/\(process)/statm")),
      let pages = String(decoding: data, as: UTF8.self).split(separator: " ").dropFirst().first,
      let count = Int(pages)
    else { return nil }
    return count * Int(sysconf(Int32(_SC_PAGESIZE)))
  }
}
