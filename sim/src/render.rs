//! Off-screen rendering through EGL: no display, no window system, software rendering included.
//!
//! A [`Renderer`] owns an OpenGL context, which belongs to the thread that made it (the type is
//! neither `Send` nor `Sync`). One renderer serves all cameras of a model, and of worlds forked
//! from one another.
//!
//! Mesa's software renderer gives the same pixels for the same state in every run. On two busy
//! cores `so101-pick` costs 3 to 5 ms of CPU time per 320×240 image; how many threads the driver
//! uses (`LP_NUM_THREADS`) makes no measurable difference at that size. Detailed meshes cost far
//! more, because every vertex is transformed on the CPU: the Go2 with its meshes takes about
//! 44 ms, with its collision shapes ([`RenderOptions::geom_groups`]) about 10 ms. Measured with
//! the example `real_time_load`.

use crate::model::{BodyId, CameraId, Model};
use crate::{SimError, World};
use khronos_egl as egl;
use mujoco_rs::mujoco_c::{self as mj, mjrContext, mjvCamera, mjvOption, mjvScene};
use sinew_runtime::Frame;
use std::ffi::{CStr, c_char, c_int};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::{Arc, OnceLock};

type Egl = egl::DynamicInstance<egl::EGL1_5>;

/// `EGL_PLATFORM_SURFACELESS_MESA`, from the EGL registry.
const PLATFORM_SURFACELESS: egl::Enum = 0x31DD;
const GL_RENDERER: u32 = 0x1F01;
/// Room for what MuJoCo draws besides the model's geoms.
const EXTRA_GEOMS: usize = 256;

/// What to render with. The default is tuned for a CPU: no shadows, one sample a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenderOptions {
    /// Largest image width, pixels.
    pub max_width: u32,
    /// Largest image height, pixels.
    pub max_height: u32,
    /// Samples a pixel for smooth edges; 0 means one.
    pub samples: u32,
    /// Width and height of the shadow map, pixels; 0 means no shadows.
    pub shadow_size: u32,
    /// Which of MuJoCo's geom groups to draw. By custom 0 to 2 are what a camera would see, 3 the
    /// collision shapes.
    pub geom_groups: [bool; 6],
    /// Mirror-like floors and tables, where the model asks for them. Doubles the work.
    pub reflections: bool,
}

impl Default for RenderOptions {
    fn default() -> Self {
        Self {
            max_width: 640,
            max_height: 480,
            samples: 0,
            shadow_size: 0,
            geom_groups: [true, true, true, false, false, false],
            reflections: false,
        }
    }
}

/// Where to look from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Viewpoint {
    /// A camera of the model.
    Camera(CameraId),
    /// Follows a body from outside.
    Follow {
        /// The body in the middle of the image.
        body: BodyId,
        /// Distance to it, m.
        distance: f64,
        /// Direction of view about the vertical, rad; 0 looks along +x.
        azimuth: f64,
        /// Direction of view above the horizon, rad; negative looks down.
        elevation: f64,
    },
}

/// Renders worlds of one model into RGB images.
pub struct Renderer {
    // Dropped by hand in order: scene and GL objects first, then the context.
    scene: Box<mjvScene>,
    objects: Box<mjrContext>,
    context: GlContext,
    model: Arc<Model>,
    camera: mjvCamera,
    appearance: mjvOption,
    options: RenderOptions,
}

impl std::fmt::Debug for Renderer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renderer")
            .field("model", &self.model)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Drop for Renderer {
    fn drop(&mut self) {
        // Without the context there is nothing to free them in; the driver then frees all itself.
        if self.context.make_current().is_ok() {
            // SAFETY: initialised in `new`, freed once, in their own context.
            unsafe { mj::mjr_freeContext(&mut *self.objects) };
        }
        // SAFETY: initialised in `new`, freed once.
        unsafe { mj::mjv_freeScene(&mut *self.scene) };
    }
}

impl Renderer {
    /// A renderer for `model` on this thread.
    pub fn new(model: &Arc<Model>, options: RenderOptions) -> Result<Self, SimError> {
        check_options(&options)?;
        let context = GlContext::new()?;
        let mut objects = make_objects(model, &options)?;
        // SAFETY: the context is current and the objects are initialised.
        unsafe { mj::mjr_setBuffer(mj::mjtFramebuffer::mjFB_OFFSCREEN as c_int, &mut *objects) };
        if objects.currentBuffer != mj::mjtFramebuffer::mjFB_OFFSCREEN as c_int {
            return Err(SimError::Render(
                "the driver has no off-screen framebuffer of the wanted size".into(),
            ));
        }
        let scene = make_scene(model, &options);
        let (camera, appearance) = make_view(&options);
        Ok(Self {
            scene,
            objects,
            context,
            model: model.clone(),
            camera,
            appearance,
            options,
        })
    }

    /// What draws, in the driver's words, for reports.
    pub fn device(&self) -> String {
        self.context.device()
    }

    /// Renders into `pixels`: RGB, rows top to bottom, `3 * width * height` bytes.
    pub fn render(
        &mut self,
        world: &World,
        view: Viewpoint,
        width: u32,
        height: u32,
        pixels: &mut [u8],
    ) -> Result<(), SimError> {
        self.check_request(world, width, height, pixels.len())?;
        self.aim(view)?;
        self.context.make_current()?;
        let viewport = mj::mjrRect {
            left: 0,
            bottom: 0,
            width: width as c_int,
            height: height as c_int,
        };
        // SAFETY: the context is current; model, data and scene belong together; the world is
        // borrowed and cannot be used by another thread meanwhile (it is not `Sync`); `pixels`
        // has the size that the viewport needs, and the depth output may be null.
        unsafe {
            mj::mjv_updateScene(
                world.model().as_ptr(),
                world.data_ptr(),
                &self.appearance,
                std::ptr::null(),
                &mut self.camera,
                mj::mjtCatBit::mjCAT_ALL as c_int,
                &mut *self.scene,
            );
            mj::mjr_render(viewport, &mut *self.scene, &*self.objects);
            mj::mjr_readPixels(
                pixels.as_mut_ptr(),
                std::ptr::null_mut(),
                viewport,
                &*self.objects,
            );
        }
        flip_rows(pixels, 3 * width as usize);
        Ok(())
    }

    /// Renders into a frame at the frame's own size.
    pub fn render_frame(
        &mut self,
        world: &World,
        view: Viewpoint,
        frame: &mut Frame,
    ) -> Result<(), SimError> {
        let (width, height) = (frame.width, frame.height);
        self.render(world, view, width, height, &mut frame.data)
    }

    fn check_request(
        &self,
        world: &World,
        width: u32,
        height: u32,
        bytes: usize,
    ) -> Result<(), SimError> {
        if !Arc::ptr_eq(world.model(), &self.model) {
            return Err(SimError::Render(format!(
                "it was made for world `{}` and cannot draw `{}`; make one for that model",
                self.model.name(),
                world.name()
            )));
        }
        let (max_width, max_height) = (self.options.max_width, self.options.max_height);
        if width == 0 || height == 0 || width > max_width || height > max_height {
            return Err(SimError::Render(format!(
                "{width}x{height} pixels do not fit its {max_width}x{max_height}; raise RenderOptions::max_width and max_height"
            )));
        }
        let wanted = 3 * width as usize * height as usize;
        if bytes != wanted {
            return Err(SimError::Render(format!(
                "{width}x{height} RGB pixels need {wanted} bytes, got {bytes}"
            )));
        }
        Ok(())
    }

    fn aim(&mut self, view: Viewpoint) -> Result<(), SimError> {
        let raw = self.model.raw();
        let known = match view {
            Viewpoint::Camera(camera) => camera.index() < raw.ncam as usize,
            Viewpoint::Follow { body, .. } => body.index() < raw.nbody as usize,
        };
        if !known {
            return Err(SimError::Render(format!("{view:?} is of another model")));
        }
        match view {
            Viewpoint::Camera(camera) => {
                self.camera.type_ = mj::mjtCamera::mjCAMERA_FIXED as c_int;
                self.camera.fixedcamid = camera.index() as c_int;
                self.camera.trackbodyid = -1;
            }
            Viewpoint::Follow {
                body,
                distance,
                azimuth,
                elevation,
            } => {
                self.camera.type_ = mj::mjtCamera::mjCAMERA_TRACKING as c_int;
                self.camera.fixedcamid = -1;
                self.camera.trackbodyid = body.index() as c_int;
                self.camera.distance = distance;
                self.camera.azimuth = azimuth.to_degrees();
                self.camera.elevation = elevation.to_degrees();
            }
        }
        Ok(())
    }
}

fn check_options(options: &RenderOptions) -> Result<(), SimError> {
    const LARGEST: u32 = 8192;
    let sizes = [options.max_width, options.max_height];
    if sizes.iter().any(|s| !(1..=LARGEST).contains(s))
        || options.shadow_size > LARGEST
        || options.samples > 16
    {
        return Err(SimError::Render(format!(
            "{options:?} is out of range: sizes from 1 to {LARGEST} pixels, at most 16 samples"
        )));
    }
    Ok(())
}

/// Uploads the model's shapes and textures and makes the off-screen buffers.
fn make_objects(model: &Model, options: &RenderOptions) -> Result<Box<mjrContext>, SimError> {
    let out_of_memory = || SimError::OutOfMemory {
        world: model.name().to_owned(),
        action: "copy the model for rendering",
    };
    let mut objects = Box::<mjrContext>::new_uninit();
    // SAFETY: the copy is ours to change and is freed once; MuJoCo initialises all of `objects`;
    // the GL context is current (the caller has just made it).
    unsafe {
        // Buffer sizes are part of the model, which is shared: set them on a copy.
        let copy = mj::mj_copyModel(std::ptr::null_mut(), model.as_ptr());
        if copy.is_null() {
            return Err(out_of_memory());
        }
        (*copy).vis.global.offwidth = options.max_width as c_int;
        (*copy).vis.global.offheight = options.max_height as c_int;
        (*copy).vis.quality.offsamples = options.samples as c_int;
        (*copy).vis.quality.shadowsize = options.shadow_size as c_int;
        mj::mjr_defaultContext(objects.as_mut_ptr());
        mj::mjr_makeContext(
            copy,
            objects.as_mut_ptr(),
            mj::mjtFontScale::mjFONTSCALE_100 as c_int,
        );
        mj::mj_deleteModel(copy);
        Ok(objects.assume_init())
    }
}

fn make_scene(model: &Model, options: &RenderOptions) -> Box<mjvScene> {
    let room = model.raw().ngeom as usize + EXTRA_GEOMS;
    let mut scene = Box::<mjvScene>::new_uninit();
    // SAFETY: MuJoCo initialises all of the scene for a valid model.
    let mut scene = unsafe {
        mj::mjv_defaultScene(scene.as_mut_ptr());
        mj::mjv_makeScene(model.as_ptr(), scene.as_mut_ptr(), room as c_int);
        scene.assume_init()
    };
    scene.flags[mj::mjtRndFlag::mjRND_SHADOW as usize] = u8::from(options.shadow_size > 0);
    scene.flags[mj::mjtRndFlag::mjRND_REFLECTION as usize] = u8::from(options.reflections);
    scene.flags[mj::mjtRndFlag::mjRND_HAZE as usize] = 0;
    scene.flags[mj::mjtRndFlag::mjRND_FOG as usize] = 0;
    scene
}

/// A camera to aim, and an appearance that shows what a real camera would see: no site markers.
fn make_view(options: &RenderOptions) -> (mjvCamera, mjvOption) {
    let mut camera = MaybeUninit::uninit();
    let mut appearance = MaybeUninit::uninit();
    // SAFETY: MuJoCo initialises both wholly.
    let (camera, mut appearance) = unsafe {
        mj::mjv_defaultCamera(camera.as_mut_ptr());
        mj::mjv_defaultOption(appearance.as_mut_ptr());
        (camera.assume_init(), appearance.assume_init())
    };
    appearance.sitegroup = [0; 6];
    appearance.geomgroup = options.geom_groups.map(u8::from);
    (camera, appearance)
}

/// OpenGL counts rows from the bottom, images from the top.
fn flip_rows(pixels: &mut [u8], row: usize) {
    let rows = pixels.len() / row;
    let (top, bottom) = pixels.split_at_mut(rows / 2 * row);
    for (upper, lower) in top
        .chunks_exact_mut(row)
        .zip(bottom.chunks_exact_mut(row).rev())
    {
        upper.swap_with_slice(lower);
    }
}

/// An OpenGL context without a window, made current on its thread.
struct GlContext {
    egl: &'static Egl,
    display: egl::Display,
    surface: egl::Surface,
    context: egl::Context,
    /// OpenGL contexts are bound to threads.
    _thread: PhantomData<*const ()>,
}

impl GlContext {
    fn new() -> Result<Self, SimError> {
        let egl = library()?;
        let display = open_display(egl)?;
        let failed = |step: &'static str| move |e: egl::Error| egl_error(step, &e.to_string());
        egl.bind_api(egl::OPENGL_API)
            .map_err(failed("eglBindAPI(OpenGL)"))?;
        #[rustfmt::skip]
        let wanted = [
            egl::SURFACE_TYPE, egl::PBUFFER_BIT,
            egl::RENDERABLE_TYPE, egl::OPENGL_BIT,
            egl::RED_SIZE, 8, egl::GREEN_SIZE, 8, egl::BLUE_SIZE, 8,
            egl::DEPTH_SIZE, 24, egl::STENCIL_SIZE, 8,
            egl::NONE,
        ];
        let config = egl
            .choose_first_config(display, &wanted)
            .map_err(failed("eglChooseConfig"))?
            .ok_or_else(|| {
                egl_error(
                    "eglChooseConfig",
                    "no configuration with 24-bit colour and depth",
                )
            })?;
        // MuJoCo draws with OpenGL's compatibility profile, which is what no attributes give.
        let context = egl
            .create_context(display, config, None, &[egl::NONE])
            .map_err(failed("eglCreateContext"))?;
        // The images go to a framebuffer object; the surface only lets the context be current.
        let size = [egl::WIDTH, 16, egl::HEIGHT, 16, egl::NONE];
        let surface = egl
            .create_pbuffer_surface(display, config, &size)
            .map_err(|e| {
                // Nothing more can be done about a context that cannot be freed either.
                let _ = egl.destroy_context(display, context);
                egl_error("eglCreatePbufferSurface", &e.to_string())
            })?;
        let gl = Self {
            egl,
            display,
            surface,
            context,
            _thread: PhantomData,
        };
        gl.make_current()?;
        Ok(gl)
    }

    fn make_current(&self) -> Result<(), SimError> {
        if self.egl.get_current_context() == Some(self.context) {
            return Ok(());
        }
        self.egl
            .make_current(
                self.display,
                Some(self.surface),
                Some(self.surface),
                Some(self.context),
            )
            .map_err(|e| egl_error("eglMakeCurrent", &e.to_string()))
    }

    fn device(&self) -> String {
        let Some(entry) = self.egl.get_proc_address("glGetString") else {
            return "unknown".into();
        };
        // SAFETY: this is the signature of glGetString in every OpenGL version.
        let get_string: extern "system" fn(u32) -> *const c_char =
            unsafe { std::mem::transmute(entry) };
        if self.make_current().is_err() {
            return "unknown".into();
        }
        let text = get_string(GL_RENDERER);
        if text.is_null() {
            return "unknown".into();
        }
        // SAFETY: OpenGL answers with a static NUL-terminated string.
        unsafe { CStr::from_ptr(text) }
            .to_string_lossy()
            .into_owned()
    }
}

impl Drop for GlContext {
    fn drop(&mut self) {
        // The display is shared by all renderers of the process, so it is not terminated. Errors
        // here mean that the driver is already gone.
        let _ = self.egl.make_current(self.display, None, None, None);
        let _ = self.egl.destroy_surface(self.display, self.surface);
        let _ = self.egl.destroy_context(self.display, self.context);
    }
}

/// libEGL, loaded once and kept: drivers do not survive being unloaded.
fn library() -> Result<&'static Egl, SimError> {
    static LIBRARY: OnceLock<Result<Egl, String>> = OnceLock::new();
    LIBRARY
        .get_or_init(|| {
            // SAFETY: libEGL has no load-time side effects that Rust would have to know of.
            unsafe { Egl::load_required() }.map_err(|e| e.to_string())
        })
        .as_ref()
        .map_err(|e| egl_error("loading libEGL.so.1", e))
}

fn open_display(egl: &Egl) -> Result<egl::Display, SimError> {
    // SAFETY: this platform takes the default native display, which is null.
    let display = unsafe {
        egl.get_platform_display(
            PLATFORM_SURFACELESS,
            egl::DEFAULT_DISPLAY,
            &[egl::ATTRIB_NONE],
        )
    };
    let display =
        display.map_err(|e| egl_error("eglGetPlatformDisplay(surfaceless)", &e.to_string()))?;
    egl.initialize(display)
        .map_err(|e| egl_error("eglInitialize", &e.to_string()))?;
    Ok(display)
}

fn egl_error(step: &str, reason: &str) -> SimError {
    SimError::Egl {
        reason: format!("{step}: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_flipped_also_when_odd() {
        let mut pixels = *b"aabbccddee";
        flip_rows(&mut pixels, 2);
        assert_eq!(&pixels, b"eeddccbbaa");
    }

    #[test]
    fn a_missing_driver_names_the_packages() {
        let message = egl_error("loading libEGL.so.1", "not found").to_string();
        assert!(
            message.contains("libegl1") && message.contains("libgl1-mesa-dri"),
            "{message}"
        );
    }
}
