// What an init, a restore, a backup or a write that was killed left behind. Nobody reads it; it is named at start, so that
// somebody looks, and never touched: what is in it may be wanted.

import { readdirSync } from 'node:fs'
import path from 'node:path'

/** @returns paths of them, in the home and in its CA's directory */
export function leftoversIn(home: string): string[] {
  const named = (dir: string, pattern: RegExp): string[] =>
    readdirSync(dir)
      .filter((name) => pattern.test(name))
      .map((name) => path.join(dir, name))
  return [...named(home, /^(ca|backup|settings)\.new-/), ...named(path.join(home, 'ca'), /\.tmp$/)].sort()
}
