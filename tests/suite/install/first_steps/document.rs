//! Code blocks of a Markdown document.

/// A command of a transcript, and what it prints there.
pub(super) struct Command {
    pub(super) line: String,
    pub(super) says: String,
}

/// Blocks of code, indented or fenced, of the section under a heading.
pub(super) fn blocks(document: &str, heading: &str) -> Vec<String> {
    let mut lines = document.lines().skip_while(|line| *line != heading).skip(1).peekable();
    assert!(lines.peek().is_some(), "no section \"{heading}\"");
    let (mut blocks, mut block, mut is_fenced) = (Vec::new(), Vec::new(), false);
    for line in lines {
        if line.starts_with("```") {
            is_fenced = !is_fenced;
            finish(&mut blocks, &mut block);
        } else if is_fenced {
            block.push(line);
        } else if let Some(code) = line.strip_prefix("    ") {
            block.push(code);
        } else if line.is_empty() && !block.is_empty() {
            block.push(line);
        } else if line.starts_with('#') {
            break;
        } else {
            finish(&mut blocks, &mut block);
        }
    }
    finish(&mut blocks, &mut block);
    blocks
}

fn finish(blocks: &mut Vec<String>, block: &mut Vec<&str>) {
    let text = block.join("\n").trim().to_owned();
    if !text.is_empty() {
        blocks.push(text);
    }
    block.clear();
}

/// The commands of a block in which each stands after `$ `, and what they print.
pub(super) fn transcript(block: &str) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(line), _) => {
                commands.push(Command { line: line.to_owned(), says: String::new() })
            }
            (None, Some(command)) => {
                command.says.push_str(line);
                command.says.push('\n');
            }
            (None, None) => panic!("the block does not begin with a command: {block}"),
        }
    }
    commands
}
