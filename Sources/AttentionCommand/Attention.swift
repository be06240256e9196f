import ArgumentParser

@main
struct Attention: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attention", abstract: "Fast attention: run, explain, verify, measure, train.")
}
