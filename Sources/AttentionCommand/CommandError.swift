import AttentionCUDA

/// An error in the tool's arguments or input.
struct CommandError: Error, Equatable, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description.shown }

  init(_ argument: String, was: String, mustBe: String) {
    self.init("\(argument.shown) is \(was.shown); it must be \(mustBe)")
  }
}
