import { useEffect, useRef, useState } from "react";

/** While a run goes on, screen readers are told of it no more often than this. */
const PAUSE_MILLISECONDS = 6000;

/** A text for a live region: at once where `key` changed (begun, done, failed), else after a pause. */
export function useSpoken(text: string, key: string): string {
  const [spoken, setSpoken] = useState(text);
  const latest = useRef(text);
  latest.current = text;
  useEffect(() => {
    setSpoken(latest.current);
    const timer = setInterval(() => setSpoken(latest.current), PAUSE_MILLISECONDS);
    return () => clearInterval(timer);
  }, [key]);
  return spoken;
}
