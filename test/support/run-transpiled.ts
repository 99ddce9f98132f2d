// Runs a TypeScript program of this tree in a process of its own, which a test may kill: Node 20 reads no TypeScript, and dist/ need
// not be built. The program and what it imports are transpiled, file by file, into a directory of the test.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import ts from 'typescript'

const ROOT = path.resolve(import.meta.dirname, '../..')

/** @param entry relative to the root of the tree */
export function runTranspiled(entry: string, dir: string, args: readonly string[]): ChildProcess {
  const seen = new Set<string>()
  const emit = (file: string): void => {
    if (seen.has(file)) return
    seen.add(file)
    const source = readFileSync(path.join(ROOT, file), 'utf8')
    const options = {
      module: ts.ModuleKind.ESNext,
      target: ts.ScriptTarget.ES2023,
      verbatimModuleSyntax: true,
    }
    const out = path.join(dir, file.replace(/\.ts$/, '.js'))
    mkdirSync(path.dirname(out), { recursive: true })
    const { outputText } = ts.transpileModule(source, { compilerOptions: options })
    writeFileSync(out, outputText)
    for (const [, specifier = ''] of outputText.matchAll(/from ['"](\.[^'"]+)['"]/g))
      emit(path.join(path.dirname(file), specifier.replace(/\.js$/, '.ts')))
  }
  emit(entry)
  writeFileSync(path.join(dir, 'package.json'), '{"type":"module"}')
  const modules = path.join(dir, 'node_modules')
  if (!existsSync(modules)) symlinkSync(path.join(ROOT, 'node_modules'), modules)
  return spawn(process.execPath, [path.join(dir, entry.replace(/\.ts$/, '.js')), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}
