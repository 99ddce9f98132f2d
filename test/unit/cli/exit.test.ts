import { CommanderError } from 'commander'
import { describe, expect, it } from 'vitest'
import { calledAs, commandOf, errorOf, quoted, reportOf, spell } from '../../../cli/exit.js'
import { MeshError } from '../../../mesh/errors.js'

const PLAIN = { called: 'npx troth', homeGiven: null }

describe('a hint', () => {
  it('is spelled the way the user called us', () => {
    expect(spell('mint one: troth token NAME', PLAIN)).toBe('mint one: npx troth token NAME')
  })

  it('names the home when it was given', () => {
    const calling = { called: 'node dist/cli/main.js', homeGiven: '/tmp/my home' }
    expect(spell('start it: troth up', calling)).toBe(
      "start it: node dist/cli/main.js --home '/tmp/my home' up",
    )
  })

  it('leaves the word troth alone where it is no command', () => {
    expect(spell('run the same release of troth on both sides', PLAIN)).toBe(
      'run the same release of troth on both sides',
    )
    expect(spell('let troth make the request', PLAIN)).toBe('let troth make the request')
  })
})

describe('the way we were called', () => {
  it.each([
    ['/usr/local/bin/troth', undefined, 'troth'],
    ['/srv/node_modules/.bin/troth', 'exec', 'npx troth'],
    ['/srv/dist/cli/main.js', undefined, 'node dist/cli/main.js'],
    ['/srv/dist/cli/main.js', 'exec', 'node dist/cli/main.js'],
    ['/opt/troth/dist/cli/main.js', undefined, 'node /opt/troth/dist/cli/main.js'],
    ['/opt/my troth/main.js', undefined, "node '/opt/my troth/main.js'"],
  ])('is read from %s (npm command %s) as %s', (script, npmCommand, called) => {
    expect(calledAs(script, '/srv', npmCommand)).toBe(called)
  })

  it('quotes what a shell would read otherwise', () => {
    expect(quoted("it's")).toBe("'it'\\''s'")
    expect(commandOf({ called: 'troth', homeGiven: '/tmp/h' })).toBe('troth --home /tmp/h')
  })
})

describe('an error', () => {
  it('is two lines for people, and its exit code is the one of the table', () => {
    const error = new MeshError('CA_ADMIN_UNREACHABLE', 'no CA runs in /tmp/h')
    expect(reportOf(error, { called: 'troth', homeGiven: '/tmp/h' }, 'people')).toEqual({
      lines: [
        'error: no CA runs in /tmp/h (CA_ADMIN_UNREACHABLE)',
        'hint: start it: troth --home /tmp/h up, or become an operator here: troth --home /tmp/h operator enrol NAME',
      ],
      code: 5,
    })
  })

  it('is one problem object with --json', () => {
    const { lines, code } = reportOf(new MeshError('CONFIG_EXISTS', 'there is one'), PLAIN, 'json')
    expect(lines).toHaveLength(1)
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ code: 'CONFIG_EXISTS', detail: 'there is one' })
    expect(code).toBe(3)
  })

  it('of the parser is a usage error whose hint is the suggestion', () => {
    const thrown = new CommanderError(
      1,
      'commander.unknownCommand',
      "error: unknown command 'tokne'\n(Did you mean token?)",
    )
    expect(errorOf(thrown)).toMatchObject({
      code: 'USAGE',
      message: "unknown command 'tokne'",
      hint: 'did you mean token?',
    })
  })

  it('is none when help or the version was asked for', () => {
    expect(errorOf(new CommanderError(0, 'commander.helpDisplayed', '(outputHelp)'))).toBeUndefined()
    expect(errorOf(new CommanderError(0, 'commander.version', '0.1.0'))).toBeUndefined()
  })

  it('that we did not foresee is a bug: code INTERNAL, exit 70, with its stack', () => {
    const error = errorOf(new TypeError('x is not a function'))
    expect(error?.code).toBe('INTERNAL')
    const { lines, code } = reportOf(error ?? new MeshError('USAGE', ''), PLAIN, 'people')
    expect(code).toBe(70)
    expect(lines.join('\n')).toContain('TypeError: x is not a function')
  })
})
