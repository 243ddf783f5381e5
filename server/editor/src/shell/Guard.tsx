import { Component, type ReactNode } from "react";

/** What is shown instead of the page where a mistake in it would leave nothing at all. */
export class Guard extends Component<{ children: ReactNode }, { problem: Error | null }> {
  override state = { problem: null as Error | null };

  static getDerivedStateFromError(problem: Error) {
    return { problem };
  }

  override render() {
    const { problem } = this.state;
    if (problem === null) return this.props.children;
    return (
      <main className="broken" role="alert">
        <p>This page made a mistake: {problem.message}. Unsaved changes are kept in this browser.</p>
        <button onClick={() => location.reload()}>Load the page again</button>
      </main>
    );
  }
}
