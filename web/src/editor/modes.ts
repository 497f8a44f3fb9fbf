// Which syntax colours a language of the catalogue, by its name. Each mode is a file of its own that is loaded when it is needed; a
// language without one is plain text.
import { type StreamParser, StreamLanguage } from '@codemirror/language';
import type { Extension } from '@codemirror/state';

type Load = () => Promise<StreamParser<unknown>>;

/* eslint-disable prettier/prettier */
const clike = (pick: (m: typeof import('@codemirror/legacy-modes/mode/clike')) => StreamParser<unknown>): Load =>
  async () => pick(await import('@codemirror/legacy-modes/mode/clike'));
const MODES: [names: RegExp, load: Load][] = [
  [/^c(\d\d)?(-|$)/, clike((m) => m.c)],
  [/^(cpp|c\+\+)/, clike((m) => m.cpp)],
  [/^java$/, clike((m) => m.java)],
  [/^csharp/, clike((m) => m.csharp)],
  [/^kotlin/, clike((m) => m.kotlin)],
  [/^scala/, clike((m) => m.scala)],
  [/^dart/, clike((m) => m.dart)],
  [/^vala/, clike((m) => m.csharp)],
  [/^(python|pypy)/, async () => (await import('@codemirror/legacy-modes/mode/python')).python],
  [/^(javascript|node|quickjs)/, async () => (await import('@codemirror/legacy-modes/mode/javascript')).javascript],
  [/^typescript/, async () => (await import('@codemirror/legacy-modes/mode/javascript')).typescript],
  [/^(json|jq)/, async () => (await import('@codemirror/legacy-modes/mode/javascript')).json],
  [/^go/, async () => (await import('@codemirror/legacy-modes/mode/go')).go],
  [/^rust/, async () => (await import('@codemirror/legacy-modes/mode/rust')).rust],
  [/^ruby/, async () => (await import('@codemirror/legacy-modes/mode/ruby')).ruby],
  [/^perl/, async () => (await import('@codemirror/legacy-modes/mode/perl')).perl],
  [/^lua/, async () => (await import('@codemirror/legacy-modes/mode/lua')).lua],
  [/^haskell/, async () => (await import('@codemirror/legacy-modes/mode/haskell')).haskell],
  [/^ocaml/, async () => (await import('@codemirror/legacy-modes/mode/mllike')).oCaml],
  [/^(fsharp|f#)/, async () => (await import('@codemirror/legacy-modes/mode/mllike')).fSharp],
  [/^pascal/, async () => (await import('@codemirror/legacy-modes/mode/pascal')).pascal],
  [/^fortran/, async () => (await import('@codemirror/legacy-modes/mode/fortran')).fortran],
  [/^r$/, async () => (await import('@codemirror/legacy-modes/mode/r')).r],
  [/^(octave|matlab)/, async () => (await import('@codemirror/legacy-modes/mode/octave')).octave],
  [/^julia/, async () => (await import('@codemirror/legacy-modes/mode/julia')).julia],
  [/^(bash|sh|dash|zsh|ksh|fish)$/, async () => (await import('@codemirror/legacy-modes/mode/shell')).shell],
  [/^(sql|sqlite)/, async () => (await import('@codemirror/legacy-modes/mode/sql')).standardSQL],
  [/^tcl/, async () => (await import('@codemirror/legacy-modes/mode/tcl')).tcl],
  [/^(scheme|racket|guile|chicken)/, async () => (await import('@codemirror/legacy-modes/mode/scheme')).scheme],
  [/^(lisp|commonlisp|sbcl|clisp|ecl)/, async () => (await import('@codemirror/legacy-modes/mode/commonlisp')).commonLisp],
  [/^clojure/, async () => (await import('@codemirror/legacy-modes/mode/clojure')).clojure],
  [/^erlang/, async () => (await import('@codemirror/legacy-modes/mode/erlang')).erlang],
  [/^elixir/, async () => (await import('@codemirror/legacy-modes/mode/ruby')).ruby],
  [/^crystal/, async () => (await import('@codemirror/legacy-modes/mode/crystal')).crystal],
  [/^d$/, async () => (await import('@codemirror/legacy-modes/mode/d')).d],
  [/^groovy/, async () => (await import('@codemirror/legacy-modes/mode/groovy')).groovy],
  [/^cobol/, async () => (await import('@codemirror/legacy-modes/mode/cobol')).cobol],
  [/^(basic|freebasic|vb)/, async () => (await import('@codemirror/legacy-modes/mode/vb')).vb],
  [/^forth/, async () => (await import('@codemirror/legacy-modes/mode/forth')).forth],
  [/^smalltalk/, async () => (await import('@codemirror/legacy-modes/mode/smalltalk')).smalltalk],
  [/^brainfuck/, async () => (await import('@codemirror/legacy-modes/mode/brainfuck')).brainfuck],
  [/^(nasm|asm|gas)/, async () => (await import('@codemirror/legacy-modes/mode/gas')).gas],
  [/^swift/, async () => (await import('@codemirror/legacy-modes/mode/swift')).swift],
  [/^apl/, async () => (await import('@codemirror/legacy-modes/mode/apl')).apl],
  [/^(verilog|iverilog)/, async () => (await import('@codemirror/legacy-modes/mode/verilog')).verilog],
];
/* eslint-enable prettier/prettier */

export async function syntaxOf(language: string): Promise<Extension> {
  const found = MODES.find(([names]) => names.test(language));
  return found === undefined ? [] : StreamLanguage.define(await found[1]());
}
