//! Making room for a backup: the first changes of a restore.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use walmgr_protocol::IN_DATA;

use super::{Existing, PERMISSIONS, Place, Plan, Roots, is_tablespace, open};
use crate::backup::manifest::{CONFIG, Control, Manifest};
use crate::backup::name;
use crate::error::{Error, Result};
use crate::restore::beneath::Beneath;
use crate::restore::marker::Marker;

impl Place {
    /// Make directories and links, and remove what does not belong. From here on the directory
    /// cannot be started.
    pub(crate) fn prepare(&self, manifest: &Manifest, plan: &Plan) -> Result<Roots> {
        make_private(&self.data)?;
        let data = open(&self.data)?;
        let failed =
            |path: &Path| Error::local(format!("prepare {}", self.data.join(path).display()));
        Marker::new(&plan.outside).write(&data)?;
        let control = Path::new(Control::PATH);
        match data.remove(control) {
            // A link in the place of the directory: what it leads to is not ours.
            Err(error) if matches!(error.raw_os_error(), Some(20 | 40)) => {}
            removed => removed.map_err(failed(control))?,
        }
        data.sync(Path::new("")).map_err(failed(Path::new("")))?;
        let mut roots = vec![(PathBuf::new(), data)];
        for (link, place) in &plan.outside {
            make_private(place)?;
            roots.push((link.clone(), open(place)?));
        }
        let roots = Roots { roots };
        if self.existing == Existing::Force {
            // The links last: they say whose the places are.
            for (prefix, root) in roots.roots.iter().rev() {
                self.empty(prefix, root, plan)?;
            }
        }
        if self.existing == Existing::Delta {
            self.remove_strangers(manifest, plan, &roots)?;
        }
        for (text, mode) in &manifest.directories {
            let Some(path) = name::to_path(text) else { continue };
            if let Some(place) = plan.outside.get(&path) {
                let (root, below) = roots.holding(&path);
                root.link(&below, place).map_err(failed(&path))?;
                continue;
            }
            let (root, below) = roots.find(&path);
            root.make_directory(below, mode & PERMISSIONS | 0o700).map_err(failed(&path))?;
        }
        for (link, target) in &plan.links {
            let (root, below) = roots.holding(link);
            root.link(&below, target).map_err(failed(link))?;
        }
        if manifest.mode != 0 {
            let mode = fs::Permissions::from_mode(manifest.mode & PERMISSIONS | 0o700);
            fs::set_permissions(&self.data, mode).map_err(failed(Path::new("")))?;
        }
        Ok(roots)
    }

    /// Remove everything that is this cluster's in a directory.
    fn empty(&self, prefix: &Path, root: &Beneath, plan: &Plan) -> Result<()> {
        if prefix.as_os_str().is_empty() {
            return self.empty_data(root, Path::new(""), plan);
        }
        for name in names(root, Path::new(""))? {
            let is_own = name.to_string_lossy().starts_with(&self.own_directory);
            if is_own || !prefix.starts_with("pg_tblspc") {
                let what = format!("remove {}", root.path.join(&name).display());
                root.remove(Path::new(&name)).map_err(Error::local(what))?;
            }
        }
        Ok(())
    }

    /// The same in the data directory, where tablespaces may lie that have been emptied.
    fn empty_data(&self, root: &Beneath, below: &Path, plan: &Plan) -> Result<()> {
        for name in names(root, below)? {
            let path = below.join(&name);
            let text = name.to_string_lossy();
            let is_top = below.as_os_str().is_empty();
            let here = self.data.join(&path);
            if is_top && (text == Marker::NAME || IN_DATA.contains(&text.as_ref()))
                || plan.outside.values().any(|place| *place == here)
            {
                continue;
            }
            if plan.outside.values().any(|place| place.starts_with(&here)) {
                self.empty_data(root, &path, plan)?;
            } else {
                let what = format!("remove {}", here.display());
                root.remove(&path).map_err(Error::local(what))?;
            }
        }
        Ok(())
    }

    fn remove_strangers(&self, manifest: &Manifest, plan: &Plan, roots: &Roots) -> Result<()> {
        let paths = |texts: &mut dyn Iterator<Item = &String>| -> BTreeSet<PathBuf> {
            texts.filter_map(|text| name::to_path(text)).collect()
        };
        let mut files = manifest.files.iter().map(|file| &file.path);
        let mut files = paths(&mut files.by_ref().filter(|path| !path.starts_with(CONFIG)));
        files.insert(PathBuf::from(Marker::NAME));
        files.extend(IN_DATA.map(PathBuf::from));
        files.extend(plan.links.iter().map(|(link, _)| link.clone()));
        let directories = paths(&mut manifest.directories.iter().map(|(path, _)| path));
        let kept = Kept { files, directories, plan };
        for (prefix, _) in &roots.roots {
            self.remove_below(prefix, &kept, roots)?;
        }
        Ok(())
    }

    fn remove_below(&self, path: &Path, kept: &Kept<'_>, roots: &Roots) -> Result<()> {
        let (root, below) = roots.find(path);
        for name in names(root, below)? {
            if is_tablespace(path) && !name.to_string_lossy().starts_with(&self.own_directory) {
                continue;
            }
            let (inner, path) = (below.join(&name), path.join(&name));
            let what = || Error::local(format!("remove {}", root.path.join(&inner).display()));
            let is_place = kept.plan.outside.values().any(|place| *place == root.path.join(&inner));
            if is_place || kept.files.contains(&path) {
                continue;
            }
            if let Some(place) = kept.plan.outside.get(&path) {
                // A root of its own. What is something else here is made anew.
                if root.target(&inner).is_none_or(|target| target != *place) {
                    root.remove(&inner).map_err(what())?;
                }
            } else if kept.directories.contains(&path) && root.directory(&inner).is_ok() {
                self.remove_below(&path, kept, roots)?;
            } else {
                root.remove(&inner).map_err(what())?;
            }
        }
        Ok(())
    }

    /// Write a file of the data directory and sync it. What others of the group may read in this
    /// cluster, they may read here.
    pub(crate) fn write(&self, data: &Beneath, path: &str, bytes: &[u8]) -> Result<()> {
        use std::io::Write;
        let what = || Error::local(format!("write {}", self.data.join(path).display()));
        let group = data.path.metadata().map_err(what())?.permissions().mode() & 0o040;
        let below = Path::new(path);
        if data.target(below).is_some() {
            data.remove(below).map_err(what())?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let mut file = data.file(below, flags, 0o600 | group).map_err(what())?;
        file.set_permissions(fs::Permissions::from_mode(0o600 | group))
            .and_then(|()| file.write_all(bytes))
            .and_then(|()| file.sync_all())
            .map_err(what())
    }
}

struct Kept<'a> {
    files: BTreeSet<PathBuf>,
    directories: BTreeSet<PathBuf>,
    plan: &'a Plan,
}

fn names(root: &Beneath, below: &Path) -> Result<Vec<std::ffi::OsString>> {
    use std::os::unix::ffi::OsStrExt;
    let what = || Error::local(format!("list {}", root.path.join(below).display()));
    let directory = root.directory(below).map_err(what())?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::new(directory).map_err(|error| what()(error.into()))? {
        let entry = entry.map_err(|error| what()(error.into()))?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(std::ffi::OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

fn make_private(directory: &Path) -> Result<()> {
    let what = || Error::local(format!("create {}", directory.display()));
    if !directory.exists() {
        fs::create_dir_all(directory).map_err(what())?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).map_err(what())?;
    }
    Ok(())
}
