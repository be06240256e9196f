/// A queue of which each client has a line of its own: the lines take turns, so that a client with many requests
/// delays its own, not those of others.
struct FairQueue<Element> {
  private var lines: [(client: String, elements: [Element])] = []
  private(set) var count = 0

  var isEmpty: Bool { count == 0 }

  /// The element whose turn it is.
  var first: Element? { lines.first?.elements.first }

  mutating func append(_ element: Element, of client: String) {
    count += 1
    if let index = lines.firstIndex(where: { $0.client == client }) {
      lines[index].elements.append(element)
    } else {
      lines.append((client, [element]))
    }
  }

  /// Removes the element whose turn it is; the next line has the next turn.
  mutating func removeFirst() {
    guard !lines.isEmpty else { return }
    var line = lines.removeFirst()
    line.elements.removeFirst()
    count -= 1
    if !line.elements.isEmpty { lines.append(line) }
  }

  /// Removes the elements for which `shouldRemove` is true.
  mutating func removeAll(where shouldRemove: (Element) -> Bool) {
    for index in lines.indices { lines[index].elements.removeAll(where: shouldRemove) }
    lines.removeAll(where: \.elements.isEmpty)
    count = lines.reduce(0) { $0 + $1.elements.count }
  }
}
